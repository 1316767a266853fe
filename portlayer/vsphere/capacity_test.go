//go:build !race

package vsphere_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

func TestCapacityWithoutTheRightToReadHosts(t *testing.T) {
	v, h := cluster(t)
	seen, err := h.Capacity(t.Context())
	require.NoError(t, err)
	summary := v.Model.Map().Any("ClusterComputeResource").(*simulator.ClusterComputeResource).Summary.GetComputeResourceSummary()
	require.Equal(t, 2*summary.NumHosts, int32(summary.NumCpuCores))
	summary.TotalCpu, summary.EffectiveCpu = 2*summary.TotalCpu, 2*summary.EffectiveCpu // the simulator counts one core of each host
	v.Deny("HostSystem")
	blind, err := h.Capacity(t.Context())
	require.NoError(t, err)
	assert.Equal(t, seen.CPUMilli, blind.CPUMilli)
	assert.Equal(t, seen.MemoryBytes, blind.MemoryBytes)
}

func TestCapacityWithoutTheRightToReadTheCluster(t *testing.T) {
	v, h := cluster(t)
	seen, err := h.Capacity(t.Context())
	require.NoError(t, err)
	known := v.open(func(c *vsphere.Config) { c.MHzPerCore = 2000 })
	v.Deny("HostSystem", "ClusterComputeResource")
	_, err = h.Capacity(t.Context())
	require.ErrorContains(t, err, "mhzPerCore")

	blind, err := known.Capacity(t.Context())
	require.NoError(t, err)
	assert.Positive(t, blind.CPUMilli)
	assert.Positive(t, blind.MemoryBytes)
	assert.Equal(t, seen.StorageBytes, blind.StorageBytes)
	pool := v.Model.Map().Any("ResourcePool").(*simulator.ResourcePool)
	assert.Equal(t, pool.Runtime.Cpu.MaxUsage/2, blind.CPUMilli, "of 2000 MHz each")
	assert.Equal(t, pool.Runtime.Memory.MaxUsage, blind.MemoryBytes)
}
