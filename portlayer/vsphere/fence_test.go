//go:build !race

package vsphere_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sync/errgroup"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// foreign makes a VM that is none of ours, with a controller for disks.
func (v *vcenter) foreign() *object.VirtualMachine {
	v.Helper()
	task, err := v.folder().CreateVM(v.Context(), types.VirtualMachineConfigSpec{
		Name: "database", GuestId: "otherLinux64Guest", Files: &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{&types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd,
			Device: &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
				SharedBus:         types.VirtualSCSISharingNoSharing,
				VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: 1000}},
			}},
		}},
	}, v.pool(), nil)
	require.NoError(v, err)
	info, err := task.WaitForResult(v.Context())
	require.NoError(v, err)
	return object.NewVirtualMachine(v.Admin.Client, info.Result.(types.ManagedObjectReference))
}

// TestAVolumeThatAnotherHas has a disk attached to a VM in ways of which none is ours.
func TestAVolumeThatAnotherHas(t *testing.T) {
	ways := map[string]func(*vcenter, string){
		"as a first-class disk": func(v *vcenter, id string) {
			v.attach(v.foreign(), id, 0)
		},
		"and this account does not see it": func(v *vcenter, id string) { v.Disks.Consume(id, "420f3f3a-0000-4000-8000-000000000001") },
		"as a file": func(v *vcenter, id string) {
			vm := v.foreign()
			devices, err := vm.Device(t.Context())
			require.NoError(t, err)
			store, err := v.Finder().DefaultDatastore(t.Context())
			require.NoError(t, err)
			disk := devices.CreateDisk(devices.FindByKey(1000).(types.BaseVirtualController), store.Reference(), store.Path("fcd/"+id+".vmdk"))
			require.NoError(t, vm.AddDevice(t.Context(), disk))
		},
	}
	for name, attach := range ways {
		t.Run(name, func(t *testing.T) {
			v, h := cluster(t)
			id := v.volume("data")
			attach(v, id)
			err := makeVM(t, h, uid, id)
			require.ErrorIs(t, err, portlayer.ErrVolumeInUse)
			require.ErrorContains(t, err, "it is attached to ")
			var which *portlayer.VolumeError
			require.ErrorAs(t, err, &which)
			require.Equal(t, id, which.Volume)
			require.NotContains(t, v.holders(id), v.vm(uid).Name())
		})
	}
}

func TestAVolumeThatAVMWithoutAHostMayHaveIsNotTaken(t *testing.T) {
	v, h := cluster(t)
	id := v.volume("data")
	away := v.foreign().Reference()
	v.Hide(away)
	vm := v.Model.Map().Get(away).(*simulator.VirtualMachine)
	v.Model.Service.Context.WithLock(vm, func() { vm.Layout = nil })
	err := makeVM(t, h, uid, id)
	require.ErrorIs(t, err, portlayer.ErrBusy)
	require.ErrorContains(t, err, "VM database of its datastore can't be read, and may have it")
}

func (v *vcenter) folder() *object.Folder {
	v.Helper()
	f, err := v.Finder().DefaultFolder(v.Context())
	require.NoError(v, err)
	return f
}

func (v *vcenter) pool() *object.ResourcePool {
	v.Helper()
	p, err := v.Finder().DefaultResourcePool(v.Context())
	require.NoError(v, err)
	return p
}

// TestAVolumeThatAnotherTakesMeanwhile has the disk attached elsewhere between the look and the attachment.
func TestAVolumeThatAnotherTakesMeanwhile(t *testing.T) {
	v, h := cluster(t)
	id, database := v.volume("data"), v.foreign()
	vm, err := h.Create(t.Context(), withVolumes(uid))
	require.NoError(t, err)
	var done atomic.Bool
	v.Before = func(_ *simulator.Context, method *simulator.Method) types.BaseMethodFault {
		if method.Name == "AttachDisk_Task" && done.CompareAndSwap(false, true) {
			v.attach(database, id, 0)
		}
		return nil
	}
	_, err = h.Update(t.Context(), withVolumes(uid, id), vm.Version)
	require.ErrorIs(t, err, portlayer.ErrVolumeInUse)
	require.ErrorContains(t, err, "VM database")
	require.Equal(t, []string{"database"}, v.holders(id), "ours has given it back")
}

// TestProcessesThatWantOneVolume has no lock in common between those who want it, as there is none between processes.
func TestProcessesThatWantOneVolume(t *testing.T) {
	v, _ := cluster(t)
	id := v.volume("data")
	var all []*vsphere.Hypervisor
	for _, name := range []string{"a", "b", "c"} {
		h := v.open(func(c *vsphere.Config) { c.Name = name })
		_, err := h.Create(t.Context(), withVolumes("uid-"+name))
		require.NoError(t, err)
		all = append(all, h)
	}
	var g errgroup.Group
	for i, h := range all {
		g.Go(func() error {
			vms, err := h.List(t.Context())
			if err != nil {
				return err
			}
			own := "uid-" + string(rune('a'+i))
			at := slices.IndexFunc(vms, func(vm portlayer.VM) bool { return vm.ID() == own })
			_, err = h.Update(t.Context(), withVolumes(own, id), vms[at].Version)
			if errors.Is(err, portlayer.ErrVolumeInUse) {
				return nil
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.LessOrEqual(t, len(v.holders(id)), 1)
}
