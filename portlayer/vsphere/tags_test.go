//go:build !race

package vsphere_test

import (
	"context"
	"maps"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vapi/rest"
	_ "github.com/vmware/govmomi/vapi/simulator"
	"github.com/vmware/govmomi/vapi/tags"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

func withTags(c *vsphere.Config) { c.TagCategory = "vic" }

// tagManager is an administrator's.
func (v *vcenter) tagManager() *tags.Manager {
	v.Helper()
	client := rest.NewClient(v.admin.Client)
	password, _ := v.server.URL.User.Password()
	require.NoError(v, client.Login(v.Context(), url.UserPassword(v.server.URL.User.Username(), password)))
	v.Cleanup(func() { _ = client.Logout(context.WithoutCancel(v.Context())) })
	return tags.NewManager(client)
}

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
	v := withEndpoints(t)
	manager := v.tagManager()
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
	require.Error(t, v.checked(withTags)["tags"].Err)
}

func TestCheckLooksAtTags(t *testing.T) {
	v := withEndpoints(t)
	found := v.checked(withTags)
	require.NoError(t, found["tags"].Err)
	assert.Contains(t, found["tags"].Detail, "made with the first pod")
	manager := v.model.Map().Get(*v.admin.ServiceContent.AuthorizationManager).(*simulator.AuthorizationManager)
	for _, privilege := range []string{"InventoryService.Tagging.CreateCategory", "InventoryService.Tagging.AttachTag"} {
		v.model.Map().Put(&stingy{manager, privilege})
		require.ErrorContains(t, v.checked(withTags)["tags"].Err, privilege)
	}
	v.model.Map().Put(manager)
	_, err := v.tagManager().CreateCategory(t.Context(), &tags.Category{Name: "vic", Cardinality: "MULTIPLE"})
	require.NoError(t, err)
	assert.Equal(t, "vic", v.checked(withTags)["tags"].Detail)
	require.NotContains(t, v.checked(func(*vsphere.Config) {}), "tags")

	m := simulator.ESX()
	m.Machine = 0
	require.ErrorIs(t, start(t, m).checked(withTags)["tags"].Err, portlayer.ErrUnsupported)
}
