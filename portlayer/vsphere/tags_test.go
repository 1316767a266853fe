//go:build !race

package vsphere_test

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vapi/tags"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

func withTags(c *vsphere.Config) { c.TagCategory = "vic" }

// tagged are how many objects have the tags of the category.
func tagged(t *testing.T, manager *tags.Manager) map[string]int {
	t.Helper()
	counts := map[string]int{}
	all, err := manager.GetTags(t.Context())
	require.NoError(t, err)
	for _, tag := range all {
		category, err := manager.GetCategory(t.Context(), tag.CategoryID)
		require.NoError(t, err)
		assert.Equal(t, "vic", category.Name)
		assert.Equal(t, "MULTIPLE", category.Cardinality)
		assert.Equal(t, []string{"VirtualMachine"}, category.AssociableTypes)
		objects, err := manager.ListAttachedObjects(t.Context(), tag.ID)
		require.NoError(t, err)
		counts[tag.Name] = len(objects)
	}
	return counts
}

func TestVMsHaveTagsOfNamespaceAndVCH(t *testing.T) {
	v := withGuests(testvcenter.ClusterWithEndpoints(t))
	manager := v.TagManager()
	plain := v.open()
	for n := range 2 {
		_, err := plain.Create(t.Context(), numbered(n))
		require.NoError(t, err)
	}
	plain.Close()
	require.Empty(t, tagged(t, manager), "nobody wanted them")

	h := v.open(withTags)
	await := func(want map[string]int) {
		t.Helper()
		require.Eventually(t, func() bool { return maps.Equal(want, tagged(t, manager)) }, patience, 100*time.Millisecond)
	}
	await(map[string]int{"vch=vch": 2, "namespace=default": 2})
	other := numbered(3)
	other.Owner.Namespace = "other"
	_, err := h.Create(t.Context(), other)
	require.NoError(t, err)
	await(map[string]int{"vch=vch": 3, "namespace=default": 2, "namespace=other": 1})
}

// TestWithoutTagsPodsRun has a vCenter whose part with tags is not there.
func TestWithoutTagsPodsRun(t *testing.T) {
	v, plain := cluster(t)
	plain.Close()
	h := v.open(withTags)
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))
}
