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
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// onVSAN has the datastore of v be one of vSAN, which makes and removes directories at its top by their own way alone.
func onVSAN(t *testing.T, v *vcenter) {
	t.Helper()
	store, err := v.finder().DefaultDatastore(t.Context())
	require.NoError(t, err)
	ds := v.model.Map().Get(store.Reference()).(*simulator.Datastore)
	v.model.Service.Context.WithLock(ds, func() { ds.Summary.Type = "vsan" })
	tops := map[string]bool{}
	v.before = func(_ *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		var path object.DatastorePath
		switch body := m.Body.(type) {
		case *types.CreateDirectory:
			tops[body.DisplayName] = true
			return nil
		case *types.MakeDirectory:
			path.FromString(body.Name)
		case *types.DeleteDatastoreFile_Task:
			if path.FromString(body.Name); strings.Contains(path.Path, "/") {
				return nil
			}
		default:
			return nil
		}
		if top, _, below := strings.Cut(path.Path, "/"); !below || !tops[top] {
			return &types.CannotCreateFile{FileFault: types.FileFault{File: path.String()}}
		}
		return nil
	}
}

func TestAVCHOnVSAN(t *testing.T) {
	v := bare(t)
	onVSAN(t, v)
	h := v.open()
	image, err := h.EnsureDisk(t.Context(), source("image"))
	require.NoError(t, err)
	_, err = h.Create(t.Context(), spec(portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image0", Ref: image}))
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	require.NoError(t, h.Destroy(t.Context(), uid))
	h.Close()
	next := v.open()
	again, err := next.EnsureDisk(t.Context(), source("image"))
	require.NoError(t, err)
	assert.Equal(t, image, again, "it was found")
}

func TestInstallOnVSAN(t *testing.T) {
	for _, directory := range []string{"pods", "clusters/pods"} {
		t.Run(directory, func(t *testing.T) {
			v := bare(t)
			onVSAN(t, v)
			cfg, in := wanted(t, v)
			cfg.Directory = directory
			require.NoError(t, vsphere.Make(t.Context(), plan(t, cfg, in)))
			for _, s := range plan(t, cfg, in) {
				assert.True(t, s.Exists, s.Subject)
			}
			removal, err := vsphere.PlanRemoval(context.WithoutCancel(t.Context()), cfg)
			require.NoError(t, err)
			require.NoError(t, vsphere.Remove(t.Context(), removal))
			for _, s := range plan(t, cfg, in) {
				assert.Equal(t, s.Subject == "boot ISO", s.Exists, s.Subject)
			}
		})
	}
}
