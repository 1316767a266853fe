//go:build !race

package vsphere_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// denies has vCenter refuse to tell of objects of some types.
func (v *vcenter) denies(kinds ...string) {
	v.before = func(_ *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		read, ok := m.Body.(*types.RetrievePropertiesEx)
		if ok && slices.Contains(kinds, read.SpecSet[0].ObjectSet[0].Obj.Type) {
			return &types.NoPermission{PrivilegeId: "System.Read"}
		}
		return nil
	}
}

func TestCapacityWithoutTheRightToReadHosts(t *testing.T) {
	v, h := cluster(t)
	seen, err := h.Capacity(t.Context())
	require.NoError(t, err)
	summary := v.model.Map().Any("ClusterComputeResource").(*simulator.ClusterComputeResource).Summary.GetComputeResourceSummary()
	require.Equal(t, 2*summary.NumHosts, int32(summary.NumCpuCores))
	summary.TotalCpu, summary.EffectiveCpu = 2*summary.TotalCpu, 2*summary.EffectiveCpu // the simulator counts one core of each host
	v.denies("HostSystem")
	blind, err := h.Capacity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, seen.CPUMilli, blind.CPUMilli)
	assert.Equal(t, seen.MemoryBytes, blind.MemoryBytes)
	require.NoError(t, v.checked(func(*vsphere.Config) {})["hosts"].Err)
	assert.Contains(t, v.checked(func(*vsphere.Config) {})["hosts"].Detail, "cluster")
}

func TestCapacityWithoutTheRightToReadTheCluster(t *testing.T) {
	v, h := cluster(t)
	seen, err := h.Capacity(t.Context())
	require.NoError(t, err)
	told := v.open(func(c *vsphere.Config) { c.MHzPerCore = 2000 })
	v.denies("HostSystem", "ClusterComputeResource")
	_, err = h.Capacity(t.Context())
	require.ErrorContains(t, err, "mhzPerCore")

	blind, err := told.Capacity(t.Context())
	require.NoError(t, err)
	assert.Positive(t, blind.CPUMilli)
	assert.Positive(t, blind.MemoryBytes)
	assert.Equal(t, seen.StorageBytes, blind.StorageBytes)
	pool := v.model.Map().Any("ResourcePool").(*simulator.ResourcePool)
	assert.Equal(t, pool.Runtime.Cpu.MaxUsage/2, blind.CPUMilli, "of 2000 MHz each")
	assert.Equal(t, pool.Runtime.Memory.MaxUsage, blind.MemoryBytes)
}
