package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// ErrNoBlob says that the VM was given no boot blob.
var ErrNoBlob = errors.New("no boot blob")

const blobInterval = 50 * time.Millisecond

// BlobFinder looks for what a hypervisor gave a VM for its start (wire.Boot): by VMware's backdoor, else QEMU's fw_cfg, else
// on a CD.
type BlobFinder struct {
	// Sys is where sysfs is mounted, and Dev where device nodes are.
	Sys, Dev string
	// GuestInfo asks VMware's backdoor; empty where there is none.
	GuestInfo func(key string) (string, error)
	// MountCD mounts a CD.
	MountCD func(device, target string) (unmount func() error, err error)
	// Temp is a directory for mount points.
	Temp string
}

// Find waits until there is a blob: devices appear while it looks. A blob that nobody can use is an error at once.
func (f BlobFinder) Find(ctx context.Context) (wire.Boot, error) {
	tick := time.NewTicker(blobInterval)
	defer tick.Stop()
	for {
		b, err := f.look()
		if err == nil {
			return wire.ParseBoot(b)
		}
		if !errors.Is(err, ErrNoBlob) {
			return wire.Boot{}, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return wire.Boot{}, fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// look asks every source once.
func (f BlobFinder) look() ([]byte, error) {
	for _, source := range []func() ([]byte, error){f.guestInfo, f.firmware, f.cd} {
		if b, err := source(); len(b) > 0 || err != nil {
			return b, err
		}
	}
	return nil, ErrNoBlob
}

func (f BlobFinder) guestInfo() ([]byte, error) {
	text, err := f.GuestInfo(wire.BootGuestInfo)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", wire.BootGuestInfo, err)
	}
	return []byte(text), nil
}

func (f BlobFinder) firmware() ([]byte, error) {
	return readFile(filepath.Join(f.Sys, "firmware/qemu_fw_cfg/by_name", wire.BootFirmware, "raw"))
}

// cd reads from the first CD that has the label.
func (f BlobFinder) cd() ([]byte, error) {
	drives, err := filepath.Glob(filepath.Join(f.Sys, "block/sr*"))
	if err != nil {
		return nil, err
	}
	for _, drive := range drives {
		device := filepath.Join(f.Dev, filepath.Base(drive))
		if label(device) != wire.BootVolume {
			continue
		}
		return f.readCD(device)
	}
	return nil, nil
}

func (f BlobFinder) readCD(device string) (b []byte, err error) {
	target, err := os.MkdirTemp(f.Temp, "cd-")
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", device, err)
	}
	defer func() { err = errors.Join(err, os.Remove(target)) }()
	unmount, err := f.MountCD(device, target)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", device, err)
	}
	defer func() { err = errors.Join(err, unmount()) }()
	return readFile(filepath.Join(target, wire.BootFile))
}

// readFile reads no more than a blob may have and one byte. A missing file is empty.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, wire.MaxBootBytes+1))
}
