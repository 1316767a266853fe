package qemu

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/internal/filelock"
)

// The names in a VCH's directory.
const (
	vmsFolder   = "vms"
	disksFolder = "disks"
	bootFolder  = "boot"
	probeFile   = "accel.json"
	healthFile  = "health"

	recordFile  = "vm.json"
	lockFile    = "lock"
	aliveFile   = "alive"
	qmpSocket   = "qmp.sock"
	guestSocket = "guest.sock"
	consoleFile = "console.log"

	// newPrefix and trashPrefix mark directories of VMs that are half made or half gone. No pod's UID begins with a dot.
	newPrefix   = ".new-"
	trashPrefix = ".trash-"
)

var (
	validUID    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	validSerial = regexp.MustCompile(`^[A-Za-z0-9_-]{1,36}$`)
	validRef    = regexp.MustCompile(`^[0-9a-f]{64}\.ext4$`)
)

// layout names the files of one VCH.
type layout string

func (l layout) vms() string            { return filepath.Join(string(l), vmsFolder) }
func (l layout) vm(uid string) string   { return filepath.Join(string(l), vmsFolder, uid) }
func (l layout) disks() string          { return filepath.Join(string(l), disksFolder) }
func (l layout) disk(ref string) string { return filepath.Join(string(l), disksFolder, ref) }
func (l layout) boot() string           { return filepath.Join(string(l), bootFolder) }
func (l layout) probe() string          { return filepath.Join(string(l), probeFile) }
func (l layout) health() string         { return filepath.Join(string(l), healthFile) }

// prepare makes the directories.
func (l layout) prepare() error {
	for _, dir := range []string{string(l), l.vms(), l.disks(), l.boot()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("make the VCH's directory: %w", spaceError(err))
		}
	}
	return nil
}

// uids lists the VMs that have a directory.
func (l layout) uids() ([]string, error) {
	entries, err := os.ReadDir(l.vms())
	if err != nil {
		return nil, fmt.Errorf("list VMs: %w", err)
	}
	uids := make([]string, 0, len(entries))
	for _, e := range entries {
		if e.IsDir() && validUID.MatchString(e.Name()) {
			uids = append(uids, e.Name())
		}
	}
	return uids, nil
}

// sweep deletes what a crash left half made or half gone. A directory whose maker lives is locked, and stays.
func (l layout) sweep() error {
	uids, err := l.uids()
	if err != nil {
		return fmt.Errorf("sweep leftovers: %w", err)
	}
	folders := []string{l.vms(), l.disks(), l.boot()}
	for _, uid := range uids {
		folders = append(folders, l.vm(uid))
	}
	for _, folder := range folders {
		entries, err := os.ReadDir(folder)
		if err != nil {
			return fmt.Errorf("sweep leftovers: %w", err)
		}
		for _, e := range entries {
			err = errors.Join(err, sweepOne(filepath.Join(folder, e.Name())))
		}
		if err := errors.Join(err, durable.Sweep(folder)); err != nil {
			return fmt.Errorf("sweep leftovers: %w", err)
		}
	}
	return nil
}

func sweepOne(path string) error {
	name := filepath.Base(path)
	switch {
	case strings.HasPrefix(name, trashPrefix):
		return os.RemoveAll(path)
	case strings.HasPrefix(name, newPrefix):
		if held, err := filelock.Held(filepath.Join(path, lockFile)); err != nil || held {
			return err
		}
		return os.RemoveAll(path)
	}
	return nil
}
