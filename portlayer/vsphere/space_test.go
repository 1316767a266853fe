//go:build !race

package vsphere_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

// noSpace is what tasks fail with on a datastore that is.
var noSpace = &types.NoDiskSpace{FileFault: types.FileFault{File: "[LocalDS_0] pod/pod.vmdk"}, Datastore: "LocalDS_0"}

// fullFolder has no room for another VM, and fullVM none for another disk.
type (
	fullFolder struct{ *simulator.Folder }
	fullVM     struct{ *simulator.VirtualMachine }
)

func (f *fullFolder) CreateVMTask(ctx *simulator.Context, _ *types.CreateVM_Task) soap.HasFault {
	task := simulator.CreateTask(f, "createVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { return nil, noSpace })
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: task.Run(ctx)}}
}

func (f *fullVM) ReconfigVMTask(ctx *simulator.Context, _ *types.ReconfigVM_Task) soap.HasFault {
	task := simulator.CreateTask(f, "reconfigVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { return nil, noSpace })
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: task.Run(ctx)}}
}

func TestAFullDatastoreTakesNoVM(t *testing.T) {
	v, h := cluster(t)
	folder, err := v.Finder().DefaultFolder(t.Context())
	require.NoError(t, err)
	reg := v.Model.Map()
	roomy := reg.Get(folder.Reference()).(*simulator.Folder)
	reg.Put(&fullFolder{roomy})
	_, err = h.Create(t.Context(), spec())
	require.ErrorIs(t, err, portlayer.ErrOutOfSpace)
	_, there := get(t, h)
	assert.False(t, there)
	assert.Zero(t, v.vms())

	reg.Put(roomy)
	_, err = h.Create(t.Context(), spec())
	require.NoError(t, err)
	assert.Equal(t, 1, v.vms())
}

func TestAFullDatastoreTakesNoDisk(t *testing.T) {
	v, h := cluster(t)
	made, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	reg := v.Model.Map()
	roomy := reg.Get(v.vm(uid).Reference()).(*simulator.VirtualMachine)
	reg.Put(&fullVM{roomy})
	more := spec(portlayer.Disk{Kind: portlayer.DiskScratch, Serial: "second", SizeBytes: 64 << 20})
	_, err = h.Update(t.Context(), more, made.Version)
	require.ErrorIs(t, err, portlayer.ErrOutOfSpace)
	vm, _ := get(t, h)
	assert.Equal(t, made.Spec, vm.Spec)
	assert.Equal(t, made.Version, vm.Version)

	reg.Put(roomy)
	_, err = h.Update(t.Context(), more, made.Version)
	require.NoError(t, err)
}

// TestAFullDatastoreTakesNoImage has the datastore fill up before an import, and in the middle of its upload.
func TestAFullDatastoreTakesNoImage(t *testing.T) {
	v, h := cluster(t)
	before := v.files("vic/vch/images")
	isFull := true
	v.Before = func(ctx *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		switch body := m.Body.(type) {
		case *types.ImportVApp:
			if isFull {
				return noSpace
			}
		case *types.RetrievePropertiesEx: // of a lease whose upload has failed
			if ref := body.SpecSet[0].ObjectSet[0].Obj; ref.Type == "HttpNfcLease" {
				lease := ctx.Session.Get(ref).(*simulator.HttpNfcLease)
				lease.Error = &types.LocalizedMethodFault{Fault: noSpace, LocalizedMessage: "full"}
			}
		}
		return nil
	}
	_, err := h.EnsureDisk(t.Context(), source("image"))
	require.ErrorIs(t, err, portlayer.ErrOutOfSpace)
	isFull = false

	throughDoor(t, v) // uploads go to the host itself, whose certificate nobody knows there
	_, err = v.open().EnsureDisk(t.Context(), source("image"))
	require.ErrorIs(t, err, portlayer.ErrOutOfSpace)
	assert.Zero(t, v.vms(), "the import's VM is gone")
	assert.Equal(t, before, v.files("vic/vch/images"))

	_, err = h.EnsureDisk(t.Context(), source("image"))
	require.NoError(t, err)
	assert.Len(t, v.files("vic/vch/images"), len(before)+2, "the disk, and its data")
}
