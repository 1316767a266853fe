package disk

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// ErrNotFound says that no disk with a serial number appeared in time.
var ErrNotFound = errors.New("disk not found")

const (
	pollInterval = 3 * time.Millisecond
	// rescanAfter is when the controllers are asked to look again: not every hypervisor announces a disk that is added later.
	rescanAfter   = 500 * time.Millisecond
	findTimeout   = 60 * time.Second
	vpdHeader     = 4 // bytes before the serial number in a SCSI vital product data page 80h
	maxSerialFile = 256
)

var (
	validSerial = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(@[0-9]{1,3})?$`)
	// address is the name of a SCSI device: controller, channel, target, logical unit.
	address = regexp.MustCompile(`^[0-9]+:0:([0-9]+):0$`)
)

// Finder finds disks.
type Finder struct {
	// Sys is where sysfs is mounted, and Dev where device nodes are.
	Sys, Dev string
}

// Find waits for the disk with the serial number and returns its device's path. A serial number may be followed by "@" and
// the disk's SCSI target, which counts then: there are hypervisors whose disks have serial numbers of their own.
func (f Finder) Find(ctx context.Context, serial string) (string, error) {
	if !validSerial.MatchString(serial) {
		return "", fmt.Errorf("%w: serial number %q is not valid", ErrNotFound, serial)
	}
	look := f.look
	if _, target, ok := strings.Cut(serial, "@"); ok {
		look = func(string) (string, bool) { return f.lookAt(target) }
	}
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	rescan := time.NewTimer(rescanAfter)
	defer rescan.Stop()
	for {
		if device, ok := look(serial); ok {
			return device, nil
		}
		select {
		case <-tick.C:
		case <-rescan.C:
			f.rescan()
		case <-ctx.Done():
			return "", fmt.Errorf("%w: serial number %s: %w", ErrNotFound, serial, ctx.Err())
		}
	}
}

// look returns the device with the serial number once it can be used.
func (f Finder) look(serial string) (string, bool) {
	// scsi disks have a page of vital product data, virtio-blk disks a plain file.
	for pattern, skip := range map[string]int{"block/*/device/vpd_pg80": vpdHeader, "block/*/serial": 0} {
		files, err := filepath.Glob(filepath.Join(f.Sys, pattern))
		if err != nil {
			continue
		}
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil || len(b) < skip || len(b) > maxSerialFile || trim(b[skip:]) != serial {
				continue
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(file, filepath.Join(f.Sys, "block")+"/"), "/")
			device := filepath.Join(f.Dev, name)
			if opens(device) {
				return device, true
			}
		}
	}
	return "", false
}

// lookAt returns the disk that is a SCSI target once it can be used. A pod VM has one controller with disks.
func (f Finder) lookAt(target string) (string, bool) {
	disks, err := filepath.Glob(filepath.Join(f.Sys, "block/sd*"))
	if err != nil {
		return "", false
	}
	for _, disk := range disks {
		link, err := os.Readlink(filepath.Join(disk, "device"))
		if err != nil {
			continue
		}
		if is := address.FindStringSubmatch(filepath.Base(link)); is == nil || is[1] != target {
			continue
		}
		if device := filepath.Join(f.Dev, filepath.Base(disk)); opens(device) {
			return device, true
		}
	}
	return "", false
}

// opens reports whether device is ready: the kernel shows a new disk a moment before it can be opened (ENXIO).
func opens(device string) bool {
	f, err := os.Open(device)
	if err != nil {
		return false
	}
	_ = f.Close() // nothing was written
	return true
}

func trim(b []byte) string { return strings.Trim(string(b), " \x00\n") }

// rescan asks every SCSI controller to look for new disks.
func (f Finder) rescan() {
	hosts, err := filepath.Glob(filepath.Join(f.Sys, "class/scsi_host/*/scan"))
	if err != nil {
		return
	}
	for _, h := range hosts {
		_ = os.WriteFile(h, []byte("- - -"), 0) // the deadline reports a disk that does not come
	}
}
