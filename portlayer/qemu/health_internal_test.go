package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
)

func TestPressures(t *testing.T) {
	roomy := resources{
		memory: room{16 << 30, 8 << 30}, storage: room{100 << 30, 50 << 30}, inodes: room{1000, 500}, threads: room{1000, 900},
	}
	with := func(change func(*resources)) resources {
		r := roomy
		change(&r)
		return r
	}
	tests := map[string]struct {
		of   resources
		want map[string]string // by condition that is True, a part of the message
	}{
		"a machine with room is under no pressure":       {roomy, nil},
		"memory below 100 MiB is pressure":               {with(func(r *resources) { r.memory.free = 99 << 20 }), map[string]string{conditionMemory: "has 99 MiB of memory left"}},
		"memory of 100 MiB is none":                      {with(func(r *resources) { r.memory.free = 100 << 20 }), nil},
		"a disk below a tenth is pressure":               {with(func(r *resources) { r.storage.free = 9 << 30 }), map[string]string{conditionDisk: "has 9216 MiB of 102400 MiB left"}},
		"a disk of few inodes is pressure":               {with(func(r *resources) { r.inodes.free = 49 }), map[string]string{conditionDisk: "has 49 of 1000 inodes left"}},
		"a disk that counts no inodes has enough":        {with(func(r *resources) { r.inodes = room{} }), nil},
		"a disk that takes no more is pressure":          {with(func(r *resources) { r.full = true }), map[string]string{conditionDisk: "takes no more"}},
		"few process IDs are pressure":                   {with(func(r *resources) { r.threads.free = 49 }), map[string]string{conditionPID: "has 49 of 1000 process IDs left"}},
		"process IDs that are not counted are no matter": {with(func(r *resources) { r.threads = room{} }), nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			kinds := map[string]bool{}
			for _, c := range tt.of.pressures() {
				kinds[c.Type] = true
				part, want := tt.want[c.Type]
				assert.Equal(t, want, c.True, c.Type)
				assert.Contains(t, c.Message, part)
				assert.NotEmpty(t, c.Reason)
			}
			assert.Len(t, kinds, 3)
		})
	}
}

// healthy is a VCH on this machine that can start VMs.
func healthy(t *testing.T) *Hypervisor {
	t.Helper()
	dir := t.TempDir()
	h := newHypervisor(Config{Dir: filepath.Join(dir, "vch"), Binary: filepath.Join(dir, "qemu"), Accel: AccelTCG})
	require.NoError(t, h.layout.prepare())
	h.boot = bootFiles{kernel: filepath.Join(dir, "kernel"), initrd: filepath.Join(dir, "initrd")}
	for _, path := range []string{h.config.Binary, h.boot.kernel, h.boot.initrd} {
		require.NoError(t, os.WriteFile(path, []byte("x"), 0o700))
	}
	return h
}

func TestHealth(t *testing.T) {
	tests := map[string]struct {
		harm       func(t *testing.T, h *Hypervisor)
		wantReason string
		wantPart   string
	}{
		"QEMU is gone":          {func(t *testing.T, h *Hypervisor) { require.NoError(t, os.Remove(h.config.Binary)) }, reasonQEMUMissing, "/qemu"},
		"QEMU is not a program": {func(t *testing.T, h *Hypervisor) { require.NoError(t, os.Chmod(h.config.Binary, 0o600)) }, reasonQEMUMissing, "permission denied"},
		"the guest's kernel is": {func(t *testing.T, h *Hypervisor) { require.NoError(t, os.Remove(h.boot.kernel)) }, reasonImageMissing, "kernel"},
		"the guest's initrd is": {func(t *testing.T, h *Hypervisor) { require.NoError(t, os.Truncate(h.boot.initrd, 0)) }, reasonImageMissing, "initrd"},
		"nothing can be written": {func(t *testing.T, h *Hypervisor) {
			require.NoError(t, os.Remove(h.layout.health()))
			require.NoError(t, os.Mkdir(h.layout.health(), 0o700))
		}, reasonUnwritable, "is a directory"},
		"the first cause is shown": {func(t *testing.T, h *Hypervisor) { h.layout = "/nowhere"; h.config.Binary = "/nowhere" }, reasonUnwritable, "/nowhere/health"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := healthy(t)
			conditions, full := h.health()
			require.Empty(t, conditions)
			require.False(t, full)
			tt.harm(t, h)
			conditions, full = h.health()
			assert.False(t, full)
			require.Len(t, conditions, 1)
			assert.Equal(t, portlayer.Condition{Type: "Ready", Reason: tt.wantReason, Message: conditions[0].Message}, conditions[0])
			assert.Contains(t, conditions[0].Message, "no pod VM can start: ")
			assert.Contains(t, conditions[0].Message, tt.wantPart)
		})
	}
}

func TestOutOfSpace(t *testing.T) {
	assert.True(t, outOfSpace(fmt.Errorf("write: %w", unix.ENOSPC)))
	assert.True(t, outOfSpace(unix.EDQUOT))
	assert.False(t, outOfSpace(unix.EROFS))
	assert.False(t, outOfSpace(nil))
}

func TestCapacityIsWhatIsOffered(t *testing.T) {
	h := healthy(t)
	whole, err := h.Capacity(t.Context())
	require.NoError(t, err)
	h.config.StorageBytes, h.config.Pods, h.config.CPUMilli, h.config.MemoryBytes = 1<<20, 7, 500, 2<<20
	part, err := h.Capacity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, portlayer.Capacity{
		CPUMilli: 500, MemoryBytes: 2 << 20, StorageBytes: 1 << 20, Pods: 7, FreeMemoryBytes: 2 << 20, FreeStorageBytes: 1 << 20,
	}, portlayer.Capacity{
		CPUMilli: part.CPUMilli, MemoryBytes: part.MemoryBytes, StorageBytes: part.StorageBytes, Pods: part.Pods,
		FreeMemoryBytes: part.FreeMemoryBytes, FreeStorageBytes: part.FreeStorageBytes,
	})
	assert.Greater(t, whole.StorageBytes, part.StorageBytes)
	assert.False(t, part.Conditions[1].True, "pressure is of the machine's disk, not of what is offered")
}
