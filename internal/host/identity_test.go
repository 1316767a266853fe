package host_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/host"
)

func TestRead(t *testing.T) {
	tests := map[string]struct {
		files map[string]string
		want  host.Identity
	}{
		"a machine that says all": {
			map[string]string{
				"etc/machine-id": "m\n", "proc/sys/kernel/random/boot_id": "b\n", "sys/class/dmi/id/product_uuid": "u\n",
				"etc/os-release": "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n",
			},
			host.Identity{MachineID: "m", SystemUUID: "u", BootID: "b", OS: "Debian GNU/Linux 13 (trixie)"},
		},
		"one that does not show its hardware": {
			map[string]string{"etc/machine-id": "m\n", "usr/lib/os-release": "PRETTY_NAME='Some OS'\n"},
			host.Identity{MachineID: "m", SystemUUID: "m", OS: "Some OS"},
		},
		"an empty machine-id, as in images": {
			map[string]string{"etc/machine-id": "", "var/lib/dbus/machine-id": "d", "etc/os-release": "PRETTY_NAME=Plain"},
			host.Identity{MachineID: "d", SystemUUID: "d", OS: "Plain"},
		},
		"one that says nothing": {nil, host.Identity{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for path, text := range tt.files {
				path = filepath.Join(root, path)
				require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
				require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
			}
			assert.Equal(t, tt.want, host.Read(root))
		})
	}
}

func TestThisMachineHasABoot(t *testing.T) {
	assert.NotEmpty(t, host.Read("/").BootID)
}
