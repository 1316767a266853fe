//go:build !race

package vch_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/vch"
)

// checked are the findings by subject.
func checked(v *testvcenter.Server, change ...func(*vsphere.Config)) map[string]vch.Finding {
	v.Helper()
	cfg := vsphere.Config{
		Name: "vch", Session: v.Session(), Networks: map[string]string{"pods": "VM Network"}, BootISO: "[LocalDS_0] vic/boot.iso",
	}
	for _, c := range change {
		c(&cfg)
	}
	found := map[string]vch.Finding{}
	for _, f := range vch.Check(v.Context(), cfg) {
		found[f.Subject] = f
	}
	return found
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	v := testvcenter.Cluster(t)
	good := checked(v)
	for _, subject := range []string{"clock", "datacenter", "resource pool", "VM folder", "datastore", "network of scope pods"} {
		require.Contains(t, good, subject)
		require.NoError(t, good[subject].Err, subject)
	}
	require.Error(t, good["boot ISO"].Err, "nobody has put it there")
	require.NoError(t, upload(v, "vic/boot.iso"))
	assert.NoError(t, checked(v)["boot ISO"].Err)

	for subject, change := range map[string]func(*vsphere.Config){
		"datacenter":            func(c *vsphere.Config) { c.Datacenter = "nowhere" },
		"resource pool":         func(c *vsphere.Config) { c.Pool = "nowhere" },
		"VM folder":             func(c *vsphere.Config) { c.Folder = "nowhere" },
		"datastore":             func(c *vsphere.Config) { c.Datastore = "nowhere" },
		"network of scope pods": func(c *vsphere.Config) { c.Networks["pods"] = "nowhere" },
		"boot ISO":              func(c *vsphere.Config) { c.BootISO = "boot.iso" },
	} {
		found := checked(v, change)
		require.Error(t, found[subject].Err, subject)
		for other, f := range found {
			if other != subject && subject != "datacenter" {
				assert.NoError(t, f.Err, "%s where the %s is wrong", other, subject)
			}
		}
	}
}

// upload puts a file on the datastore.
func upload(v *testvcenter.Server, path string) error {
	store, err := v.Finder().DefaultDatastore(v.Context())
	require.NoError(v, err)
	files := object.NewFileManager(v.Admin.Client)
	dc, err := v.Finder().DefaultDatacenter(v.Context())
	require.NoError(v, err)
	_ = files.MakeDirectory(v.Context(), store.Path("vic"), dc, true) // a VCH may have made it
	return store.Upload(v.Context(), strings.NewReader("image"), path, &soap.DefaultUpload)
}

// stingy grants all privileges but one.
type stingy struct {
	*simulator.AuthorizationManager
	but string
}

func (s *stingy) HasUserPrivilegeOnEntities(req *types.HasUserPrivilegeOnEntities) soap.HasFault {
	body := s.AuthorizationManager.HasUserPrivilegeOnEntities(req).(*methods.HasUserPrivilegeOnEntitiesBody)
	for _, entity := range body.Res.Returnval {
		for i := range entity.PrivAvailability {
			p := &entity.PrivAvailability[i]
			p.IsGranted = p.PrivId != s.but
		}
	}
	return body
}

// withhold has nobody have one privilege; the empty one is none.
func withhold(v *testvcenter.Server, privilege string) {
	v.Helper()
	ref := *v.Admin.ServiceContent.AuthorizationManager
	switch manager := v.Model.Map().Get(ref).(type) {
	case *stingy:
		v.Model.Map().Put(&stingy{manager.AuthorizationManager, privilege})
	case *simulator.AuthorizationManager:
		v.Model.Map().Put(&stingy{manager, privilege})
	}
}

func TestCheckNamesAMissingPrivilege(t *testing.T) {
	v := testvcenter.Cluster(t)
	for subject, privilege := range map[string]string{
		"VM folder": "VirtualMachine.Interact.PowerOn", "resource pool": "VApp.Import", "datastore": "Datastore.Browse",
		"network of scope pods": "Network.Assign",
	} {
		withhold(v, privilege)
		found := checked(v)
		require.ErrorContains(t, found[subject].Err, privilege)
		assert.NotContains(t, found[subject].Err.Error(), ", ", "no other is named")
	}
}
