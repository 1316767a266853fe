//go:build !race

package vsphere_test

import (
	"context"
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
)

// checked are the findings by subject.
func (v *vcenter) checked(change func(*vsphere.Config)) map[string]vsphere.Finding {
	v.Helper()
	session, err := vsphere.Connect(v.Context(), v.target)
	require.NoError(v, err)
	v.Cleanup(func() { session.Close(context.WithoutCancel(v.Context())) })
	cfg := vsphere.Config{
		Name: "vch", Session: session, Networks: map[string]string{"pods": "VM Network"}, BootISO: "[LocalDS_0] vic/boot.iso",
	}
	change(&cfg)
	found := map[string]vsphere.Finding{}
	for _, f := range vsphere.Check(v.Context(), cfg) {
		found[f.Subject] = f
	}
	return found
}

func TestCheckFindsWhatIsWrong(t *testing.T) {
	v, h := cluster(t)
	h.Close()
	good := v.checked(func(*vsphere.Config) {})
	for _, subject := range []string{"clock", "datacenter", "resource pool", "VM folder", "datastore", "network of scope pods"} {
		require.Contains(t, good, subject)
		require.NoError(t, good[subject].Err, subject)
	}
	require.Error(t, good["boot ISO"].Err, "nobody has put it there")
	require.NoError(t, v.upload("vic/boot.iso"))
	assert.NoError(t, v.checked(func(*vsphere.Config) {})["boot ISO"].Err)

	for subject, change := range map[string]func(*vsphere.Config){
		"datacenter":            func(c *vsphere.Config) { c.Datacenter = "nowhere" },
		"resource pool":         func(c *vsphere.Config) { c.Pool = "nowhere" },
		"VM folder":             func(c *vsphere.Config) { c.Folder = "nowhere" },
		"datastore":             func(c *vsphere.Config) { c.Datastore = "nowhere" },
		"network of scope pods": func(c *vsphere.Config) { c.Networks["pods"] = "nowhere" },
		"boot ISO":              func(c *vsphere.Config) { c.BootISO = "boot.iso" },
	} {
		found := v.checked(change)
		require.Error(t, found[subject].Err, subject)
		for other, f := range found {
			if other != subject && subject != "datacenter" {
				assert.NoError(t, f.Err, "%s where the %s is wrong", other, subject)
			}
		}
	}
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

func TestCheckNamesAMissingPrivilege(t *testing.T) {
	v, h := cluster(t)
	h.Close()
	manager := v.model.Map().Get(*v.admin.ServiceContent.AuthorizationManager).(*simulator.AuthorizationManager)
	for subject, privilege := range map[string]string{
		"VM folder": "VirtualMachine.Interact.PowerOn", "resource pool": "VApp.Import", "datastore": "Datastore.Browse",
		"network of scope pods": "Network.Assign",
	} {
		v.model.Map().Put(&stingy{manager, privilege})
		found := v.checked(func(*vsphere.Config) {})
		require.ErrorContains(t, found[subject].Err, privilege)
		assert.NotContains(t, found[subject].Err.Error(), ", ", "no other is named")
	}
}

// upload puts a file on the datastore.
func (v *vcenter) upload(path string) error {
	store, err := v.finder().DefaultDatastore(v.Context())
	require.NoError(v, err)
	files := object.NewFileManager(v.admin.Client)
	dc, err := v.finder().DefaultDatacenter(v.Context())
	require.NoError(v, err)
	_ = files.MakeDirectory(v.Context(), store.Path("vic"), dc, true) // a VCH may have made it
	return store.Upload(v.Context(), strings.NewReader("image"), path, &soap.DefaultUpload)
}
