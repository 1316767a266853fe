package portlayertest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
)

// diskGreeting is what the disk of bootSource writes to the first serial port.
const diskGreeting = "booted from a disk"

// bootSource is a disk whose first sector (512 bytes, as a PC's BIOS loads it to 0x7c00) writes diskGreeting to the serial
// port at 0x3f8 and then halts.
func bootSource() portlayer.DiskSource {
	b := make([]byte, diskBytes)
	n := copy(b, []byte{
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xba, 0xf8, 0x03, // mov dx, 0x3f8
		0xbe, 0x15, 0x7c, // mov si, text
		0xac,       // next: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x03, // jz halt
		0xee,       // out dx, al
		0xeb, 0xf8, // jmp next
		0xf4,       // halt: hlt
		0xeb, 0xfd, // jmp halt
	})
	copy(b[n:], diskGreeting+"\n\x00") // text
	b[510], b[511] = 0x55, 0xaa
	sum := sha256.Sum256(b)
	return portlayer.DiskSource{
		Digest: "sha256:" + hex.EncodeToString(sum[:]), SizeBytes: diskBytes,
		Open: func() (io.ReadSeekCloser, error) {
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader(b), io.NopCloser(nil)}, nil
		},
	}
}

// machineSpec is that of a VM which is not a pod's and boots a disk of its own.
func (t *tester) machineSpec(id string) portlayer.Spec {
	t.Helper()
	ref, err := t.Hypervisor.EnsureDisk(t.ctx, bootSource())
	require.NoError(t, err)
	spec := t.spec(id)
	spec.Owner = portlayer.Owner{Kind: "Machine", Name: "box", UID: "owner-1", Generation: 1}
	spec.Boot = portlayer.Boot{Kind: portlayer.BootDisk, Disk: "root"}
	spec.Disks = append(spec.Disks, portlayer.Disk{Kind: portlayer.DiskImage, Serial: "root", Ref: ref})
	return spec
}

func bootDisk(t *tester) {
	spec := t.machineSpec("box-1")
	vm, err := t.Hypervisor.Create(t.ctx, spec)
	require.NoError(t, err)
	t.created = append(t.created, "box-1")
	require.Equal(t, spec, vm.Spec)
	requireSameVM(t, vm, t.get("box-1"))
	require.NoError(t, t.Hypervisor.PowerOn(t.ctx, "box-1"))
	t.await("box-1", inState(portlayer.StateRunning))
	if dialer, ok := portlayer.RoleOf[portlayer.Dialer](t.Hypervisor); ok {
		require.ErrorIs(t, t.dialError(dialer, "box-1"), portlayer.ErrUnsupported)
	}
	if t.Console != nil {
		t.awaitConsole("box-1", diskGreeting)
	}
	require.NoError(t, t.Hypervisor.PowerOff(t.ctx, "box-1"))
	t.await("box-1", inState(portlayer.StateStopped))
	require.NoError(t, t.Hypervisor.Destroy(t.ctx, "box-1"))
	_, there := t.find("box-1")
	assert.False(t, there)
}

// awaitConsole returns when a VM's console has that text.
func (t *tester) awaitConsole(id, text string) {
	t.Helper()
	var console []byte
	require.Eventually(t, func() bool {
		console = t.Console(id)
		return strings.Contains(string(console), text)
	}, t.Timeout, 50*time.Millisecond, "console: %s", &console)
}

func bootRefused(t *tester) {
	copied := t.spec("box-1")
	copied.Boot = portlayer.Boot{Kind: portlayer.BootTemplate, Template: "another"}
	_, err := t.Hypervisor.Create(t.ctx, copied)
	require.ErrorIs(t, err, portlayer.ErrUnsupported)
	missing := t.spec("box-1")
	missing.Boot = portlayer.Boot{Kind: portlayer.BootDisk, Disk: "root"}
	_, err = t.Hypervisor.Create(t.ctx, missing)
	require.ErrorContains(t, err, `"root"`)
	unknown := t.spec("box-1")
	unknown.Boot.Kind = "floppy"
	_, err = t.Hypervisor.Create(t.ctx, unknown)
	require.ErrorContains(t, err, "floppy")
	_, there := t.find("box-1")
	assert.False(t, there, "nothing is there after an error")
}
