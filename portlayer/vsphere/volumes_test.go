//go:build !race

package vsphere_test

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// withVolumes is a pod's spec with volumes.
func withVolumes(uid string, ids ...string) portlayer.Spec {
	s := spec()
	s.ID = uid
	for _, id := range ids {
		s.Disks = append(s.Disks, portlayer.Disk{Kind: portlayer.DiskVolume, Serial: "vol-" + id[:8], Volume: id})
	}
	return s
}

// makeVM makes a VM, and gives it volumes.
func makeVM(t *testing.T, h *vsphere.Hypervisor, uid string, ids ...string) error {
	t.Helper()
	vm, err := h.Create(t.Context(), withVolumes(uid))
	require.NoError(t, err)
	if len(ids) == 0 {
		return nil
	}
	_, err = h.Update(t.Context(), withVolumes(uid, ids...), vm.Version)
	return err
}

// holders are the VMs that have a disk among their devices, by whatever way.
func (v *vcenter) holders(id string) []string {
	v.Helper()
	disk, ok := v.Disks.Get(id)
	require.True(v, ok, "the disk is gone")
	path := disk.Config.Backing.(*types.BaseConfigInfoDiskFileBackingInfo).FilePath
	vms, err := v.Finder().VirtualMachineList(v.Context(), "*")
	if err != nil {
		return nil // there is none
	}
	var names []string
	for _, vm := range vms {
		devices, err := vm.Device(v.Context())
		require.NoError(v, err)
		for _, d := range devices.SelectByType((*types.VirtualDisk)(nil)) {
			if d.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo().FileName == path {
				names = append(names, vm.Name())
			}
		}
	}
	return names
}

// requireWhole requires that a disk and its file are there.
func (v *vcenter) requireWhole(id string) {
	v.Helper()
	_, ok := v.Disks.Get(id)
	require.True(v, ok, "the disk is gone")
	require.Contains(v, v.files("fcd"), id+".vmdk")
}

// TestDestroyLeavesVolumes is the regression test of what would lose users' data.
func TestDestroyLeavesVolumes(t *testing.T) {
	ways := map[string]func(*testing.T, *vcenter, *vsphere.Hypervisor){
		"by us": func(t *testing.T, _ *vcenter, h *vsphere.Hypervisor) {
			t.Helper()
			require.NoError(t, h.Destroy(t.Context(), uid))
		},
		"by hand": func(t *testing.T, v *vcenter, _ *vsphere.Hypervisor) {
			t.Helper()
			v.powerOff()
			task, err := v.vm(uid).Destroy(t.Context())
			require.NoError(t, err)
			require.NoError(t, task.Wait(t.Context()))
		},
	}
	for name, destroy := range ways {
		t.Run(name, func(t *testing.T) {
			v, h := cluster(t)
			id := v.volume("data")
			require.NoError(t, makeVM(t, h, uid, id))
			require.Len(t, v.holders(id), 1)
			disk, _ := v.Disks.Get(id)
			require.True(t, *disk.Config.KeepAfterDeleteVm, "it was made without care")
			require.NoError(t, h.PowerOn(t.Context(), uid))
			destroy(t, v, h)
			assert.Zero(t, v.vms())
			v.requireWhole(id)
			require.NoError(t, makeVM(t, v.open(), "uid-2", id), "another VM may have it")
		})
	}
}

// TestDestroyLeavesAVolumeThatItDidNotKnowOf has a volume whose attachment was not noted, and that is not to be kept.
func TestDestroyLeavesAVolumeThatItDidNotKnowOf(t *testing.T) {
	v, h := cluster(t)
	id := v.volume("data")
	require.NoError(t, makeVM(t, h, uid))
	v.attach(v.vm(uid), id, 5)
	require.NoError(t, h.Destroy(t.Context(), uid))
	v.requireWhole(id)
}

// attach attaches a disk by hand.
func (v *vcenter) attach(vm *object.VirtualMachine, id string, unit int32) {
	v.Helper()
	store, err := v.Finder().DefaultDatastore(v.Context())
	require.NoError(v, err)
	require.NoError(v, vm.AttachDisk(v.Context(), id, store, 1000, &unit))
}

func TestAVMGetsAllItsVolumesOrNone(t *testing.T) {
	v, h := cluster(t)
	free, taken := v.volume("free"), v.volume("taken")
	require.NoError(t, makeVM(t, h, "uid-2", taken))
	vm, err := h.Create(t.Context(), withVolumes(uid))
	require.NoError(t, err)
	for _, order := range [][]string{{free, taken}, {taken, free}} {
		_, err = h.Update(t.Context(), withVolumes(uid, order...), vm.Version)
		require.ErrorIs(t, err, portlayer.ErrVolumeInUse)
		require.Empty(t, v.holders(free), "whoever waits for one keeps no other from others")
	}
	require.NoError(t, h.Destroy(t.Context(), "uid-2"))
	_, err = h.Update(t.Context(), withVolumes(uid, free, taken), vm.Version)
	require.NoError(t, err)
	require.Len(t, v.holders(free), 1)
	require.Len(t, v.holders(taken), 1)
}

func TestAVolumeWhoseAttachmentNobodySaw(t *testing.T) {
	v, h := cluster(t)
	id := v.volume("data")
	vm, err := h.Create(t.Context(), withVolumes(uid))
	require.NoError(t, err)
	// The answer got lost, and the note of it was not made.
	v.attach(v.vm(uid), id, 5)
	updated, err := h.Update(t.Context(), withVolumes(uid, id), vm.Version)
	require.NoError(t, err, "it has it already")
	require.EqualValues(t, 5, updated.Targets["vol-"+id[:8]], "the guest finds it where it is")
	require.Len(t, v.holders(id), 1)
	require.NoError(t, h.Destroy(t.Context(), uid))
	v.requireWhole(id)
}

// TestAnAttachmentThatComesLate has vSphere attach the disk when the VM is being destroyed already.
func TestAnAttachmentThatComesLate(t *testing.T) {
	v, h := cluster(t)
	id := v.volume("data")
	vm, err := h.Create(t.Context(), withVolumes(uid))
	require.NoError(t, err)
	var once sync.Once
	v.Before = func(_ *simulator.Context, method *simulator.Method) types.BaseMethodFault {
		switch method.Name {
		case "AttachDisk_Task":
			if method.Body.(*types.AttachDisk_Task).UnitNumber != nil && *method.Body.(*types.AttachDisk_Task).UnitNumber != 5 {
				return &types.HostCommunication{}
			}
		case "Destroy_Task":
			once.Do(func() { v.attach(v.vm(uid), id, 5) })
		}
		return nil
	}
	_, err = h.Update(t.Context(), withVolumes(uid, id), vm.Version)
	require.ErrorIs(t, err, portlayer.ErrBusy)
	require.NoError(t, h.Destroy(t.Context(), uid))
	v.requireWhole(id)
}

func TestAVolumeThatSomebodyTookComesBack(t *testing.T) {
	v, h := cluster(t)
	id := v.volume("data")
	require.NoError(t, makeVM(t, h, uid, id))
	require.NoError(t, v.vm(uid).DetachDisk(t.Context(), id))
	require.Empty(t, v.holders(id))
	require.NoError(t, h.PowerOn(t.Context(), uid))
	require.Len(t, v.holders(id), 1)
	require.NoError(t, h.PowerOff(t.Context(), uid))

	require.NoError(t, v.vm(uid).DetachDisk(t.Context(), id))
	require.NoError(t, makeVM(t, h, "uid-2", id))
	require.ErrorIs(t, h.PowerOn(t.Context(), uid), portlayer.ErrVolumeInUse, "it is another's now")
	vm, _ := get(t, h)
	require.Equal(t, portlayer.StateStopped, vm.State)
}

func TestAVolumeThatWouldGoWithItsVMIsNotAttached(t *testing.T) {
	v, h := cluster(t)
	v.Disks.Careless = true
	id := v.volume("data")
	require.ErrorContains(t, makeVM(t, h, uid, id), "does not keep it after its VM")
	require.Empty(t, v.holders(id))
}
