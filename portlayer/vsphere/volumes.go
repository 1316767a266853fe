package vsphere

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sync"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"

	"github.com/virtual-kubelet/vic/internal/turns"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// VolumeDriver is the CSI driver that makes first-class disks, whose IDs are its volume handles.
const VolumeDriver = "csi.vsphere.vmware.com"

// validVolume is the ID of a first-class disk.
var validVolume = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9-]{0,63}$`)

// volumes are first-class disks, which VMs have for a while. Which VM has one is what vSphere says, and is asked each time.
type volumes struct {
	h      *Hypervisor
	taking turns.Turns // by ID

	mu sync.Mutex // guards on
	// on is the datastore on which a disk was found last.
	on map[string]types.ManagedObjectReference
}

func newVolumes(h *Hypervisor) *volumes {
	return &volumes{h: h, on: map[string]types.ManagedObjectReference{}}
}

// change gives vm the volumes of spec that it has not, takes from it those that spec has not, and returns where the former
// are on the bus. If it fails, the next call finds what it has done, and Destroy undoes it.
func (v *volumes) change(ctx context.Context, vm ownedVM, spec portlayer.Spec) (map[string]int32, error) {
	from, to := vm.record.spec.Volumes(), spec.Volumes()
	if slices.Equal(from, to) {
		return nil, nil //nolint:nilnil // nothing changes
	}
	devices, err := v.h.devicesOf(ctx, vm)
	if err != nil {
		return nil, err
	}
	for _, d := range from {
		if !slices.Contains(to, d) {
			if err := v.detach(ctx, vm, devices, d.Volume); err != nil {
				return nil, volumeError(d.Volume, err)
			}
		}
	}
	return v.attachAll(ctx, vm, devices, spec.Disks)
}

// restore gives vm the volumes of its record that somebody has taken from it while it was off.
func (v *volumes) restore(ctx context.Context, vm ownedVM) error {
	if len(vm.record.spec.Volumes()) == 0 {
		return nil
	}
	devices, err := v.h.devicesOf(ctx, vm)
	if err != nil {
		return err
	}
	_, err = v.attachAll(ctx, vm, devices, vm.record.spec.Disks)
	return err
}

// attachAll attaches the volumes among disks, and returns where they are.
func (v *volumes) attachAll(ctx context.Context, vm ownedVM, devices object.VirtualDeviceList, disks []portlayer.Disk) (map[string]int32, error) {
	units := map[string]int32{}
	maps.Copy(units, vm.record.units)
	for _, d := range disks {
		if has := volumeDevice(devices, d.Volume); d.Kind == portlayer.DiskVolume && has != nil && has.UnitNumber != nil {
			units[d.Serial] = *has.UnitNumber
		}
	}
	units = placeDisks(units, disks)
	var done []string
	for _, d := range disks {
		if d.Kind != portlayer.DiskVolume || volumeDevice(devices, d.Volume) != nil {
			continue
		}
		if err := v.attach(ctx, vm, ourController(devices), bus{d.Volume, units[d.Serial]}); err != nil {
			return nil, errors.Join(volumeError(d.Volume, err), v.giveBack(ctx, vm, done))
		}
		done = append(done, d.Volume)
	}
	return units, nil
}

// giveBack takes volumes from vm again when it does not get all: whoever holds some and waits for others keeps those from
// moving that it waits for.
func (v *volumes) giveBack(ctx context.Context, vm ownedVM, ids []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var failed error
	for _, id := range ids {
		failed = errors.Join(failed, v.detachDisk(ctx, vm, id))
	}
	return failed
}

// volumeError says which volume err is about, in our kinds.
func volumeError(volume string, err error) error {
	return &portlayer.VolumeError{Volume: volume, Err: vcenter.Translate(err)}
}

// attach gives vm a disk that no other VM has.
func (v *volumes) attach(ctx context.Context, vm ownedVM, controller int32, at bus) error {
	giveBack, err := v.taking.Take(ctx, at.volume)
	if err != nil {
		return err
	}
	defer giveBack()
	disk, err := v.find(ctx, at.volume)
	if err != nil {
		return err
	}
	if err := v.free(ctx, vm, disk); err != nil {
		return err
	}
	if err := v.keep(ctx, disk); err != nil {
		return err
	}
	if err := v.attachDisk(ctx, vm, disk, types.AttachDisk_Task{ControllerKey: controller, UnitNumber: &at.unit}); err != nil {
		return err
	}
	// Another process may have looked at the same time: who sees the other gives the disk back, and neither has run with it.
	if err := v.alone(ctx, vm, disk); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
		defer cancel()
		return errors.Join(err, v.detachDisk(undo, vm, at.volume))
	}
	return nil
}

// bus is where a volume goes.
type bus struct {
	volume string
	unit   int32
}

func (v *volumes) attachDisk(ctx context.Context, vm ownedVM, disk types.VStorageObject, req types.AttachDisk_Task) error {
	req.This, req.DiskId = vm.ref, disk.Config.Id
	req.Datastore = disk.Config.Backing.GetBaseConfigInfoBackingInfo().Datastore
	res, err := methods.AttachDisk_Task(ctx, v.h.client, &req)
	if err == nil {
		_, err = v.h.tasks.await(ctx, object.NewTask(v.h.client, res.Returnval), nil)
	}
	if fault.Is(err, &types.ResourceInUse{}) || fault.Is(err, &types.FileLocked{}) {
		return fmt.Errorf("%w: vSphere does not attach it: %v", portlayer.ErrVolumeInUse, err) //nolint:errorlint // it is one kind
	}
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	return nil
}

// detach takes a disk from vm, whole. One that it does not have is not an error.
func (v *volumes) detach(ctx context.Context, vm ownedVM, devices object.VirtualDeviceList, volume string) error {
	disk := volumeDevice(devices, volume)
	if disk == nil {
		return nil
	}
	err := v.detachDisk(ctx, vm, volume)
	if !fault.Is(err, &types.NotFound{}) {
		return err
	}
	// It is not a first-class disk any more, and a disk all the same.
	task, err := v.h.vm(vm).Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{removal(disk)}})
	_, err = v.h.tasks.await(ctx, task, err)
	return err
}

func (v *volumes) detachDisk(ctx context.Context, vm ownedVM, volume string) error {
	res, err := methods.DetachDisk_Task(ctx, v.h.client, &types.DetachDisk_Task{This: vm.ref, DiskId: types.ID{Id: volume}})
	if err == nil {
		_, err = v.h.tasks.await(ctx, object.NewTask(v.h.client, res.Returnval), nil)
	}
	if err != nil {
		return fmt.Errorf("detach: %w", err)
	}
	return nil
}

// volumeDevice is the device of a VM that is a first-class disk; nil where it has none.
func volumeDevice(devices object.VirtualDeviceList, volume string) *types.VirtualDisk {
	for _, d := range devices {
		if disk, ok := d.(*types.VirtualDisk); ok && disk.VDiskId != nil && disk.VDiskId.Id == volume {
			return disk
		}
	}
	return nil
}

// find looks for a disk on the datastores of the datacenter: neither a claim nor a volume says where it is.
func (v *volumes) find(ctx context.Context, volume string) (types.VStorageObject, error) {
	if v.h.client.ServiceContent.VStorageObjectManager == nil {
		return types.VStorageObject{}, fmt.Errorf("this vSphere has no first-class disks: %w", portlayer.ErrUnsupported)
	}
	stores, err := v.datastores(ctx, volume)
	if err != nil {
		return types.VStorageObject{}, err
	}
	manager := vslm.NewObjectManager(v.h.client)
	var unknown error
	for _, store := range stores {
		disk, err := manager.Retrieve(ctx, store, volume)
		switch {
		case err == nil && disk.Config.Backing != nil:
			v.mu.Lock()
			v.on[volume] = store
			v.mu.Unlock()
			return *disk, nil
		case err != nil && !fault.Is(err, &types.NotFound{}):
			unknown = errors.Join(unknown, fmt.Errorf("look on datastore %s: %w", store.Value, err))
		}
	}
	if unknown != nil {
		return types.VStorageObject{}, unknown
	}
	return types.VStorageObject{}, fmt.Errorf("no datastore of the datacenter has it: %w", portlayer.ErrVolumeNotFound)
}

// datastores are all that a disk may be on, the likely ones first.
func (v *volumes) datastores(ctx context.Context, volume string) ([]types.ManagedObjectReference, error) {
	var dc mo.Datacenter
	err := property.DefaultCollector(v.h.client).RetrieveOne(ctx, v.h.place.datacenter.Reference(), []string{"datastore"}, &dc)
	if err != nil {
		return nil, fmt.Errorf("list datastores: %w", err)
	}
	likely := []types.ManagedObjectReference{v.h.place.datastore.Reference()}
	v.mu.Lock()
	if last, ok := v.on[volume]; ok {
		likely = []types.ManagedObjectReference{last, likely[0]}
	}
	v.mu.Unlock()
	var all []types.ManagedObjectReference
	for _, store := range slices.Concat(likely, dc.Datastore) {
		if slices.Contains(dc.Datastore, store) && !slices.Contains(all, store) {
			all = append(all, store)
		}
	}
	return all, nil
}

// keep has vSphere leave the disk where it is when the VM that has it is destroyed, by whomever.
func (v *volumes) keep(ctx context.Context, disk types.VStorageObject) error {
	if kept(disk) {
		return nil
	}
	ref, store := *v.h.client.ServiceContent.VStorageObjectManager, disk.Config.Backing.GetBaseConfigInfoBackingInfo().Datastore
	req := types.SetVStorageObjectControlFlags{
		This: ref, Id: disk.Config.Id, Datastore: store,
		ControlFlags: []string{string(types.VslmVStorageObjectControlFlagKeepAfterDeleteVm)},
	}
	var err error
	if ref.Type == "VcenterVStorageObjectManager" {
		_, err = methods.SetVStorageObjectControlFlags(ctx, v.h.client, &req)
	} else {
		_, err = methods.HostSetVStorageObjectControlFlags(ctx, v.h.client, (*types.HostSetVStorageObjectControlFlags)(&req))
	}
	if err != nil {
		return fmt.Errorf("have it kept after its VM: %w", err)
	}
	now, err := vslm.NewObjectManager(v.h.client).Retrieve(ctx, store, disk.Config.Id.Id)
	if err != nil {
		return fmt.Errorf("have it kept after its VM: %w", err)
	}
	if !kept(*now) {
		return errors.New("vSphere does not keep it after its VM: it is not attached")
	}
	return nil
}

func kept(disk types.VStorageObject) bool {
	keep := disk.Config.KeepAfterDeleteVm
	return keep != nil && *keep
}
