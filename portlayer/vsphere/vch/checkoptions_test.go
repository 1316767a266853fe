//go:build !race

package vch_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "github.com/vmware/govmomi/pbm/simulator"
	"github.com/vmware/govmomi/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/mo"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

func withTags(c *vsphere.Config) { c.TagCategory = "vic" }

func withAntiAffinity(c *vsphere.Config) { c.AntiAffinity = true }

func withReservation(c *vsphere.Config) { c.ReserveMemory = true }

func withPolicy(c *vsphere.Config) { c.StoragePolicy = "vSAN Default Storage Policy" } // of the simulator

func TestCheckSaysThatHostsCannotBeRead(t *testing.T) {
	v := testvcenter.Cluster(t)
	v.Deny("HostSystem")
	hosts := checked(v)["hosts"]
	require.NoError(t, hosts.Err)
	assert.Contains(t, hosts.Detail, "cluster")
}

func TestCheckLooksAtTheStoragePolicy(t *testing.T) {
	v := testvcenter.ClusterWithEndpoints(t)
	found := checked(v, func(c *vsphere.Config) { c.StoragePolicy = "gold" })
	require.ErrorContains(t, found["storage policy"].Err, `"gold"`)
	found = checked(v, withPolicy)
	require.Contains(t, found, "storage policy")
	require.NoError(t, found["storage policy"].Err)
	require.NotContains(t, checked(v), "storage policy")

	withhold(v, "StorageProfile.View")
	require.ErrorContains(t, checked(v, withPolicy)["storage policy"].Err, "StorageProfile.View")
}

func TestCheckLooksAtMemoryThatCanBeReserved(t *testing.T) {
	v := testvcenter.Cluster(t)
	v.SetUnreserved(1 << 20)
	require.NoError(t, checked(v, withReservation)["memory reservation"].Err)
	v.SetUnreserved(0)
	require.ErrorIs(t, checked(v, withReservation)["memory reservation"].Err, portlayer.ErrOutOfMemory)
}

func TestCheckLooksAtTheRightToChangeTheCluster(t *testing.T) {
	v := testvcenter.Cluster(t)
	require.NoError(t, checked(v, withAntiAffinity)["anti-affinity"].Err)
	withhold(v, "Host.Inventory.EditCluster")
	require.ErrorContains(t, checked(v, withAntiAffinity)["anti-affinity"].Err, "Host.Inventory.EditCluster")
}

func TestCheckLooksAtTags(t *testing.T) {
	v := testvcenter.ClusterWithEndpoints(t)
	found := checked(v, withTags)
	require.NoError(t, found["tags"].Err)
	assert.Contains(t, found["tags"].Detail, "made with the first pod")
	for _, privilege := range []string{"InventoryService.Tagging.CreateCategory", "InventoryService.Tagging.AttachTag"} {
		withhold(v, privilege)
		require.ErrorContains(t, checked(v, withTags)["tags"].Err, privilege)
	}
	withhold(v, "")
	_, err := v.TagManager().CreateCategory(t.Context(), &tags.Category{Name: "vic", Cardinality: "MULTIPLE"})
	require.NoError(t, err)
	assert.Equal(t, "vic", checked(v, withTags)["tags"].Detail)
	require.NotContains(t, checked(v), "tags")
}

func TestAVCenterMayHaveNoPartWithTags(t *testing.T) {
	require.Error(t, checked(testvcenter.Cluster(t), withTags)["tags"].Err)
}

func TestALoneHostHasNoOptionsOfVCenter(t *testing.T) {
	v := testvcenter.LoneHost(t)
	require.ErrorContains(t, checked(v, withPolicy)["storage policy"].Err, "only vCenter")
	require.ErrorIs(t, checked(v, withTags)["tags"].Err, portlayer.ErrUnsupported)
	require.ErrorIs(t, checked(v, withAntiAffinity)["anti-affinity"].Err, portlayer.ErrUnsupported)
	require.NotContains(t, checked(v), "anti-affinity")
}

func TestCheckFindsAnNSXSegment(t *testing.T) {
	m := simulator.VPX()
	m.Machine, m.Host, m.OpaqueNetwork = 0, 0, 1
	v := testvcenter.Start(t, m)
	segment := v.Model.Map().Any("OpaqueNetwork").(*mo.OpaqueNetwork)
	found := checked(v, func(c *vsphere.Config) { c.Networks = map[string]string{"pods": segment.Name} })
	require.NoError(t, found["network of scope pods"].Err)
}
