package oci

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// ownDevices are what a container has of its own, and never the VM's.
var ownDevices = []string{"pts", "shm", "mqueue", "fd", "console", "ptmx"}

// Devices lists the device files below dir, which a container finds below /dev.
func Devices(dir string) ([]specs.LinuxDevice, error) {
	var devices []specs.LinuxDevice
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		switch {
		case slices.Contains(ownDevices, name) && e.IsDir():
			return fs.SkipDir
		case slices.Contains(ownDevices, name), e.Type()&os.ModeDevice == 0:
			return nil
		}
		d, err := device(path)
		d.Path = filepath.Join("/dev", name)
		devices = append(devices, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list devices: %w", err)
	}
	return devices, nil
}

func device(path string) (specs.LinuxDevice, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return specs.LinuxDevice{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	kind := "c"
	if st.Mode&unix.S_IFMT == unix.S_IFBLK {
		kind = "b"
	}
	mode := os.FileMode(st.Mode & 0o777)
	return specs.LinuxDevice{
		Type: kind, Major: int64(unix.Major(st.Rdev)), Minor: int64(unix.Minor(st.Rdev)),
		FileMode: &mode, UID: &st.Uid, GID: &st.Gid,
	}, nil
}

// Device is a device file of the guest as a container finds it at target.
func Device(path, target string) (specs.LinuxDevice, error) {
	d, err := device(path)
	d.Path = target
	return d, err
}

// allow lets a container use devices, and only read those that are in onlyRead.
func allow(devices []specs.LinuxDevice, onlyRead map[string]bool) []specs.LinuxDeviceCgroup {
	rules := make([]specs.LinuxDeviceCgroup, 0, len(devices))
	for i := range devices {
		access := "rwm"
		if onlyRead[devices[i].Path] {
			access = "rm"
		}
		rules = append(rules, specs.LinuxDeviceCgroup{
			Allow: true, Type: devices[i].Type, Major: &devices[i].Major, Minor: &devices[i].Minor, Access: access,
		})
	}
	return rules
}
