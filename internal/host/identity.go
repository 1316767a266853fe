package host

import (
	"cmp"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Identity distinguishes a host from others. A field is empty where the host does not say.
type Identity struct {
	// MachineID is that of the installation (machine-id(5)).
	MachineID string
	// SystemUUID is that of the hardware (SMBIOS), which only root may read; MachineID takes its place.
	SystemUUID string
	// BootID is another after each start of the host (random(4)).
	BootID string
	// OS is the name of the operating system (os-release(5), PRETTY_NAME).
	OS string
}

// Read reads the identity of the host whose file system is below root.
func Read(root string) Identity {
	first := func(paths ...string) string {
		for _, path := range paths {
			if text, err := os.ReadFile(filepath.Join(root, path)); err == nil && len(text) > 0 {
				return strings.TrimSpace(string(text))
			}
		}
		return ""
	}
	id := Identity{
		MachineID: first("etc/machine-id", "var/lib/dbus/machine-id"),
		BootID:    first("proc/sys/kernel/random/boot_id"),
		OS:        prettyName(first("etc/os-release", "usr/lib/os-release")),
	}
	id.SystemUUID = cmp.Or(first("sys/class/dmi/id/product_uuid"), id.MachineID)
	return id
}

func prettyName(release string) string {
	for line := range strings.Lines(release) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME=")
		if !ok {
			continue
		}
		if text, err := strconv.Unquote(value); err == nil {
			return text
		}
		return strings.Trim(value, `'`)
	}
	return ""
}
