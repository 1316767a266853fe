package vcsim

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// diskDirectory is where first-class disks are on their datastore, as in vSphere.
const diskDirectory = "fcd"

// Disks are the first-class disks of a simulated vCenter or ESXi host. The simulator's own know neither who has them nor
// control flags, are not devices of the VMs that they are attached to, and do not exist on ESXi. It is safe for concurrent use.
//
// As with vSphere, a VM that is destroyed takes its disks with it, but for those that are to be kept after that. Unlike
// vSphere, it lets two VMs have one disk: what keeps them apart is to be tested.
type Disks struct {
	// Careless has control flags taken and forgotten. It is set before anybody asks.
	Careless bool

	mu       sync.Mutex // guards what follows
	byID     map[string]types.VStorageObject
	sessions map[*simulator.Registry]bool
}

// AddDisks gives an inventory first-class disks.
func AddDisks(registry *simulator.Registry) *Disks {
	d := &Disks{byID: map[string]types.VStorageObject{}, sessions: map[*simulator.Registry]bool{}}
	for _, kind := range []string{"VcenterVStorageObjectManager", "HostVStorageObjectManager"} {
		ref := types.ManagedObjectReference{Type: kind, Value: "VStorageObjectManager"}
		if kind == "HostVStorageObjectManager" {
			ref.Value = "ha-vstorage-object-manager"
		}
		m := &diskManager{disks: d}
		m.Self = ref
		registry.Put(m)
	}
	registry.AddHandler(d)
	return d
}

// Get returns a disk by its ID; false where there is none.
func (d *Disks) Get(id string) (types.VStorageObject, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	disk, ok := d.byID[id]
	return disk, ok
}

// Consume notes that a VM has a disk which is not in the inventory.
func (d *Disks) Consume(id, vm string) {
	d.change(id, func(c *types.VStorageObjectConfigInfo) { c.ConsumerId = []types.ID{{Id: vm}} })
}

func (d *Disks) change(id string, change func(*types.VStorageObjectConfigInfo)) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	disk, ok := d.byID[id]
	if ok {
		change(&disk.Config)
		d.byID[id] = disk
	}
	return ok
}

func (d *Disks) create(ctx *simulator.Context, spec types.VslmCreateSpec) (types.AnyType, types.BaseMethodFault) {
	where := spec.BackingSpec.GetVslmCreateSpecBackingSpec().Datastore
	store, ok := ctx.Map.Get(where).(*simulator.Datastore)
	if !ok {
		return nil, &types.InvalidDatastore{Datastore: &where}
	}
	id := uuid.NewString()
	file := object.DatastorePath{Datastore: store.Name, Path: diskDirectory + "/" + id + ".vmdk"}
	dc := ctx.Map.Any("Datacenter").Reference()
	ctx.Map.FileManager().MakeDirectory(ctx, &types.MakeDirectory{
		Name: (&object.DatastorePath{Datastore: store.Name, Path: diskDirectory}).String(), Datacenter: &dc,
	}) // it is there, or making the disk fails
	body, ok := ctx.Map.VirtualDiskManager().CreateVirtualDiskTask(ctx, &types.CreateVirtualDisk_Task{
		Datacenter: &dc, Name: file.String(), Spec: &types.FileBackedVirtualDiskSpec{CapacityKb: spec.CapacityInMB * 1024},
	}).(*methods.CreateVirtualDisk_TaskBody)
	if !ok || body.Res == nil {
		return nil, &types.CannotCreateFile{}
	}
	if failed := await(ctx, body.Res.Returnval); failed != nil {
		return nil, failed
	}
	disk := types.VStorageObject{Config: types.VStorageObjectConfigInfo{
		BaseConfigInfo: types.BaseConfigInfo{
			Id: types.ID{Id: id}, Name: spec.Name, CreateTime: time.Now(), KeepAfterDeleteVm: spec.KeepAfterDeleteVm,
			Backing: &types.BaseConfigInfoDiskFileBackingInfo{BaseConfigInfoFileBackingInfo: types.BaseConfigInfoFileBackingInfo{
				BaseConfigInfoBackingInfo: types.BaseConfigInfoBackingInfo{Datastore: where}, FilePath: file.String(),
			}},
		},
		CapacityInMB: spec.CapacityInMB, ConsumptionType: []string{"disk"},
	}}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.byID[id] = disk
	return disk, nil
}

// retrieve returns a disk with the VMs that have it.
func (d *Disks) retrieve(ctx *simulator.Context, id types.ID, store types.ManagedObjectReference) (types.VStorageObject, bool) {
	disk, ok := d.Get(id.Id)
	if !ok || disk.Config.Backing.GetBaseConfigInfoBackingInfo().Datastore != store {
		return disk, false
	}
	for _, e := range ctx.Map.All("VirtualMachine") {
		vm, ok := e.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		ctx.WithLock(vm, func() {
			if len(deviceOf(vm, id.Id)) > 0 {
				disk.Config.ConsumerId = append(disk.Config.ConsumerId, types.ID{Id: vm.Config.Uuid})
			}
		})
	}
	return disk, true
}

// deviceOf is a VM's device that is a disk; none where it does not have it.
func deviceOf(vm *simulator.VirtualMachine, id string) object.VirtualDeviceList {
	if vm.Config == nil {
		return nil // its host is away
	}
	return object.VirtualDeviceList(vm.Config.Hardware.Device).Select(func(d types.BaseVirtualDevice) bool {
		disk, ok := d.(*types.VirtualDisk)
		return ok && disk.VDiskId != nil && disk.VDiskId.Id == id
	})
}

// Attach is the change of a VM that gives it a disk. The caller holds the VM's lock.
func (d *Disks) Attach(vm *simulator.VirtualMachine, req *types.AttachDisk_Task) (*types.ReconfigVM_Task, types.BaseMethodFault) {
	disk, ok := d.Get(req.DiskId.Id)
	if !ok {
		return nil, &types.NotFound{}
	}
	if len(deviceOf(vm, req.DiskId.Id)) > 0 || req.UnitNumber == nil {
		return nil, &types.InvalidState{}
	}
	backing := disk.Config.Backing.(*types.BaseConfigInfoDiskFileBackingInfo)
	return changeOf(req.This, types.VirtualDeviceConfigSpecOperationAdd, &types.VirtualDisk{
		VirtualDevice: types.VirtualDevice{
			Key: -1, ControllerKey: req.ControllerKey, UnitNumber: req.UnitNumber,
			Backing: &types.VirtualDiskFlatVer2BackingInfo{
				VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{FileName: backing.FilePath, Datastore: &backing.Datastore},
				DiskMode:                     string(types.VirtualDiskModePersistent),
			},
		},
		CapacityInKB: disk.Config.CapacityInMB * 1024, VDiskId: &disk.Config.Id,
	}), nil
}

// Detach is the change of a VM that takes a disk from it. The caller holds the VM's lock.
func (d *Disks) Detach(vm *simulator.VirtualMachine, req *types.DetachDisk_Task) (*types.ReconfigVM_Task, types.BaseMethodFault) {
	devices := deviceOf(vm, req.DiskId.Id)
	if len(devices) == 0 {
		return nil, &types.NotFound{}
	}
	return changeOf(req.This, types.VirtualDeviceConfigSpecOperationRemove, devices...), nil
}

// Destroy destroys a VM, but not the disks that outlive it. The caller holds the VM's lock.
func (d *Disks) Destroy(ctx *simulator.Context, vm *simulator.VirtualMachine, req *types.Destroy_Task) types.BaseMethodFault {
	if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff {
		if failed := d.spare(ctx, vm); failed != nil {
			return failed
		}
	}
	answer, ok := vm.DestroyTask(ctx, req).(*methods.Destroy_TaskBody)
	if !ok || answer.Res == nil {
		return &types.InvalidState{}
	}
	return await(ctx, answer.Res.Returnval)
}

// spare takes the disks that are to be kept out of a VM that is off and about to be destroyed. The others are forgotten.
// The caller holds the VM's lock.
func (d *Disks) spare(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	var kept object.VirtualDeviceList
	for _, e := range vm.Config.Hardware.Device {
		device, ok := e.(*types.VirtualDisk)
		if !ok || device.VDiskId == nil {
			continue
		}
		if disk, ok := d.Get(device.VDiskId.Id); ok && disk.Config.KeepAfterDeleteVm != nil && *disk.Config.KeepAfterDeleteVm {
			kept = append(kept, device)
			continue
		}
		d.mu.Lock()
		delete(d.byID, device.VDiskId.Id)
		d.mu.Unlock()
	}
	if len(kept) == 0 {
		return nil
	}
	body, ok := vm.ReconfigVMTask(ctx, changeOf(vm.Self, types.VirtualDeviceConfigSpecOperationRemove, kept...)).(*methods.ReconfigVM_TaskBody)
	if !ok || body.Res == nil {
		return &types.InvalidState{}
	}
	return await(ctx, body.Res.Returnval)
}

func changeOf(vm types.ManagedObjectReference, op types.VirtualDeviceConfigSpecOperation, devices ...types.BaseVirtualDevice) *types.ReconfigVM_Task {
	change := &types.ReconfigVM_Task{This: vm}
	for _, d := range devices {
		change.Spec.DeviceChange = append(change.Spec.DeviceChange, &types.VirtualDeviceConfigSpec{Operation: op, Device: d})
	}
	return change
}

// keep sets control flags.
func (d *Disks) keep(id types.ID, flags []string) types.BaseMethodFault {
	wanted := slices.ContainsFunc(flags, func(f string) bool {
		return strings.EqualFold(f, string(types.VslmVStorageObjectControlFlagKeepAfterDeleteVm))
	})
	ok := d.change(id.Id, func(c *types.VStorageObjectConfigInfo) {
		if wanted && !d.Careless {
			c.KeepAfterDeleteVm = new(true)
		}
	})
	if !ok {
		return &types.NotFound{}
	}
	return nil
}
