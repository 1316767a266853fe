//go:build qemu

package guestimage_test

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/build/guestimage"
	"github.com/virtual-kubelet/vic/internal/testinitrd"
	"github.com/virtual-kubelet/vic/internal/testinitrd/vsphereguest/report"
)

// patience is how long a boot may take: firmware and all are emulated, on a busy machine.
const patience = 3 * time.Minute

// efiFirmware is of Debian's package ovmf.
const efiFirmware = "/usr/share/ovmf/OVMF.fd"

// TestTheISOBoots boots the ISO that "make guest-image" made, with the hardware that vSphere gives to a VM. Only the guest
// program is another, which reports what it sees.
func TestTheISOBoots(t *testing.T) {
	t.Parallel()
	image := os.Getenv("VIC_GUEST_IMAGE")
	if image == "" {
		image = "../../bin/guest"
	}
	base := filepath.Join(image, guestimage.ISOFile)
	require.FileExists(t, base, "make guest-image builds it")
	init, err := testinitrd.Build(t.Context(), testinitrd.VSphereGuest)
	require.NoError(t, err)
	iso := filepath.Join(t.TempDir(), guestimage.ISOFile)
	require.NoError(t, testinitrd.WriteISO(t.Context(), iso, base, map[string][]byte{"init": init}))
	for name, firmware := range map[string][]string{
		"in BIOS": nil,
		"in EFI":  {"-bios", efiFirmware},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := boot(t, iso, firmware...)
			assert.Empty(t, r.Broken, "every module loads")
			assert.Equal(t, []report.Disk{{Driver: "vmw_pvscsi", Target: 3, Bytes: 1 << 20, Head: "content"}}, r.Disks)
			assert.Equal(t, []report.NIC{{Driver: "vmxnet3", MAC: "00:50:56:00:00:01"}}, r.NICs)
			assert.Equal(t, []string{"/dev/sr0"}, r.CDs)
		})
	}
}

func boot(t *testing.T, iso string, firmware ...string) report.Report {
	t.Helper()
	disk := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(disk, []byte("content"), 0o600))
	require.NoError(t, os.Truncate(disk, 1<<20))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	qemu := exec.CommandContext(ctx, "qemu-system-x86_64", append(firmware,
		"-accel", "tcg", "-M", "pc", "-cpu", "max", "-m", "256", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-drive", "if=none,id=cd,media=cdrom,read-only=on,format=raw,file="+iso, "-device", "ide-cd,drive=cd,bootindex=0",
		"-device", "pvscsi,id=scsi",
		"-drive", "if=none,id=disk,format=raw,file="+disk, "-device", "scsi-hd,bus=scsi.0,scsi-id=3,drive=disk",
		"-netdev", "user,id=net,restrict=on", "-device", "vmxnet3,netdev=net,romfile=,mac=00:50:56:00:00:01",
		"-serial", "stdio")...)
	qemu.Stderr = os.Stderr
	console, err := qemu.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, qemu.Start(), "apt-get install qemu-system-x86 ovmf")
	var said strings.Builder
	var r report.Report
	for lines := bufio.NewScanner(console); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
		if _, line, ok := strings.Cut(lines.Text(), "REPORT "); ok {
			require.NoError(t, json.Unmarshal([]byte(line), &r))
		}
	}
	require.NoError(t, qemu.Wait(), "%s", said.String())
	require.NotEmpty(t, r.BootID, "the guest reported nothing: %s", said.String())
	return r
}
