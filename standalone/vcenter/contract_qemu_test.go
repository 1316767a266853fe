//go:build qemu

package vcenter_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer/portlayertest"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// TestContractWithoutGuest has VMs that QEMU really runs. What a guest of ours has to do is tested with a simulated vCenter
// that runs nothing, in package vsphere.
func TestContractWithoutGuest(t *testing.T) {
	t.Parallel()
	portlayertest.RunWithoutGuest(t, func(t *testing.T) portlayertest.Harness {
		l := userLab(t)
		return portlayertest.Harness{
			Hypervisor: l.h,
			Volume: func(name string) string {
				id, err := l.vc.MakeDisk(t.Context(), name, 64)
				require.NoError(t, err)
				return id
			},
			Console: func(id string) []byte {
				vms, err := vsphere.List(t.Context(), l.session, "", "")
				require.NoError(t, err)
				for instanceUUID, vm := range vms {
					if vm.ID() == id {
						return l.vc.Console(instanceUUID)
					}
				}
				return nil
			},
			Timeout: patience,
		}
	})
}
