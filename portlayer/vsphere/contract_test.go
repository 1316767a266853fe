//go:build !race

package vsphere_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

func TestContract(t *testing.T) {
	models := map[string]struct {
		model func() *simulator.Model
		pool  string
	}{
		"a cluster": {func() *simulator.Model {
			m := simulator.VPX()
			m.Machine, m.Host = 0, 0
			return m
		}, "/DC0/host/DC0_C0/Resources"},
		"a lone host in vCenter": {func() *simulator.Model {
			m := simulator.VPX()
			m.Machine, m.Cluster, m.Host = 0, 0, 1
			return m
		}, ""},
		"ESXi": {func() *simulator.Model {
			m := simulator.ESX()
			m.Machine = 0
			return m
		}, ""},
	}
	for name, where := range models {
		t.Run(name, func(t *testing.T) {
			portlayertest.Run(t, func(t *testing.T) portlayertest.Harness {
				v := withGuests(testvcenter.Start(t, where.model()))
				open := func() portlayer.Hypervisor {
					return v.open(func(c *vsphere.Config) { c.Pool = where.pool })
				}
				return portlayertest.Harness{
					Hypervisor: open(),
					Reopen:     open,
					Kill: func(uid string) {
						task, err := v.vm(uid).PowerOff(t.Context())
						require.NoError(t, err)
						require.NoError(t, task.Wait(t.Context()))
					},
					Volume:  v.volume,
					Timeout: patience,
				}
			})
		})
	}
}
