//go:build qemu

package qemu_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

func TestContract(t *testing.T) {
	t.Parallel()
	image := guestImage(t)
	portlayertest.Run(t, func(t *testing.T) portlayertest.Harness {
		h := newHost(t, func(c *qemu.Config) { c.GuestImage = image })
		return portlayertest.Harness{
			Hypervisor: h.Hypervisor,
			Reopen:     func() portlayer.Hypervisor { h.reopen(); return h.Hypervisor },
			Kill: func(uid string) {
				vms, _, err := qemu.List(h.config.Dir)
				require.NoError(t, err)
				for _, vm := range vms {
					if vm.ID() == uid {
						require.NoError(t, unix.Kill(vm.PID, unix.SIGKILL))
					}
				}
			},
			Console: func(id string) []byte {
				console, err := h.Console(t.Context(), id)
				require.NoError(t, err)
				return console
			},
			Timeout: patience,
			Size:    portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 160 * mib},
		}
	})
}

func TestDisksComeAndGoInTheGuest(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec(scratch("scratch")))
	guest := h.talk()
	require.Equal(t, "scratch", guest.say("disks 1"))

	s := vm.Spec.Clone()
	long := "a-serial_number-of-36-characters-012"
	s.Disks = append(s.Disks, scratch(long), scratch("second"))
	vm, err := h.Update(h.ctx, s, vm.Version)
	require.NoError(t, err)
	require.Equal(t, long+" scratch second", guest.say("disks 3"))
	require.Equal(t, "written", guest.say("write second 8"))
	require.FileExists(t, filepath.Join(h.config.Dir, "vms", uid, "scratch-second.img"))

	s.Disks = s.Disks[:2]
	vm, err = h.Update(h.ctx, s, vm.Version)
	require.NoError(t, err)
	require.Equal(t, long+" scratch", guest.say("disks 2"))
	require.NoFileExists(t, filepath.Join(h.config.Dir, "vms", uid, "scratch-second.img"))

	h.reopen()
	s.Disks = append(s.Disks, scratch("third"))
	_, err = h.Update(h.ctx, s, vm.Version)
	require.NoError(t, err)
	require.Equal(t, long+" scratch third", h.talk().say("disks 3"), "an adopted VM takes disks too")

	require.NoError(t, h.PowerOff(h.ctx, uid))
	require.NoError(t, h.PowerOn(h.ctx, uid))
	require.Equal(t, long+" scratch third", h.talk().say("disks 3"), "a new boot has them all")
}
