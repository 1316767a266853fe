package vsphere

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// Update replaces a VM's spec with one task.
func (h *Hypervisor) Update(ctx context.Context, spec portlayer.Spec, version uint64) (portlayer.VM, error) {
	uid := spec.ID
	vm, giveBack, err := h.change(ctx, uid)
	if err == nil {
		defer giveBack()
		vm, err = h.update(ctx, vm, spec.Clone(), version)
	}
	if err != nil {
		return portlayer.VM{}, fmt.Errorf("update VM %q: %w", uid, vcenter.Translate(err))
	}
	return vm.view(), nil
}

func (h *Hypervisor) update(ctx context.Context, vm ownedVM, spec portlayer.Spec, version uint64) (ownedVM, error) {
	old := vm.record.spec
	if vm.record.version != version {
		return vm, fmt.Errorf("it is at version %d, not %d: %w", vm.record.version, version, portlayer.ErrStaleHandle)
	}
	if err := h.checkSpec(spec); err != nil {
		return vm, err
	}
	sameNICs := slices.EqualFunc(old.NICs, spec.NICs, portlayer.NIC.Equal)
	if old.Boot != spec.Boot || vm.on && (old.Size != spec.Size || !sameNICs) {
		return vm, fmt.Errorf("a VM keeps its boot, and a running one its size and interfaces: %w", portlayer.ErrUnsupported)
	}
	if err := keepDisks(old.Disks, spec.Disks); err != nil {
		return vm, err
	}
	release, err := h.disks.use(spec.Disks)
	if err != nil {
		return vm, err
	}
	defer release()
	places, err := h.volumes.change(ctx, vm, spec)
	if err != nil {
		return vm, err
	}
	var facts mo.VirtualMachine
	if err := property.DefaultCollector(h.client).RetrieveOne(ctx, vm.ref, []string{"config.changeVersion", "config.hardware.device"}, &facts); err != nil {
		return vm, fmt.Errorf("read devices: %w", err)
	}
	if facts.Config == nil {
		return vm, fmt.Errorf("its configuration can't be read: %w", portlayer.ErrBusy)
	}
	next := vm.record
	if places == nil {
		places = placeDisks(vm.record.units, spec.Disks)
	}
	next.spec, next.version, next.units = spec, version+1, places
	config, err := h.changes(facts.Config.Hardware.Device, vm.record, next)
	if err != nil {
		return vm, err
	}
	// What another process changed meanwhile makes vSphere refuse it.
	config.ChangeVersion = facts.Config.ChangeVersion
	task, err := h.vm(vm).Reconfigure(ctx, config)
	if _, err := h.tasks.await(ctx, task, err); err != nil {
		h.missed(err, spec.Disks)
		return vm, err
	}
	vm.record = next
	vm.armed = vm.armed && sameNICs
	h.seen.put(vm)
	return vm, nil
}

// keepDisks refuses another disk under the serial of one that is there.
func keepDisks(from, to []portlayer.Disk) error {
	for _, d := range to {
		i := slices.IndexFunc(from, func(old portlayer.Disk) bool { return old.Serial == d.Serial })
		if i >= 0 && from[i] != d {
			return fmt.Errorf("disk %s can't become another: %w", d.Serial, portlayer.ErrUnsupported)
		}
	}
	return nil
}

// changes turn a VM with those devices from one record to the next.
func (h *Hypervisor) changes(devices []types.BaseVirtualDevice, from, to record) (types.VirtualMachineConfigSpec, error) {
	var config types.VirtualMachineConfigSpec
	var err error
	if config.ExtraConfig, err = to.extraConfig(); err != nil {
		return config, err
	}
	if from.spec.Size != to.spec.Size {
		h.setSize(&config, to.spec.Size)
	}
	config.DeviceChange = h.diskChanges(devices, from, to)
	if slices.EqualFunc(from.spec.NICs, to.spec.NICs, portlayer.NIC.Equal) {
		return config, nil
	}
	for _, d := range devices {
		if _, ok := d.(types.BaseVirtualEthernetCard); ok {
			config.DeviceChange = append(config.DeviceChange, &types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: d,
			})
		}
	}
	cards, err := h.cards(to.spec.NICs)
	config.DeviceChange = append(config.DeviceChange, cards...)
	return config, err
}

// ourController is the key of the controller that our disks are on: the one with the lowest bus number.
func ourController(devices []types.BaseVirtualDevice) int32 {
	key, bus := int32(pvscsiKey), int32(math.MaxInt32)
	for _, d := range devices {
		if c, ok := d.(*types.ParaVirtualSCSIController); ok && c.BusNumber < bus {
			key, bus = c.Key, c.BusNumber
		}
	}
	return key
}

// diskChanges take out what has no place any more, and add what has none yet.
func (h *Hypervisor) diskChanges(devices []types.BaseVirtualDevice, from, to record) []types.BaseVirtualDeviceConfigSpec {
	controller := ourController(devices)
	there := map[int32]*types.VirtualDisk{}
	for _, d := range devices {
		if disk, ok := d.(*types.VirtualDisk); ok && disk.UnitNumber != nil && disk.ControllerKey == controller {
			there[*disk.UnitNumber] = disk
		}
	}
	var changes []types.BaseVirtualDeviceConfigSpec
	for serial, unit := range from.ownUnits() {
		_, stays := to.units[serial]
		if disk := there[unit]; !stays && disk != nil && disk.VDiskId == nil {
			changes = append(changes, &types.VirtualDeviceConfigSpec{
				Operation:     types.VirtualDeviceConfigSpecOperationRemove,
				FileOperation: types.VirtualDeviceConfigSpecFileOperationDestroy, // of the child or the scratch disk
				Device:        disk,
			})
		}
	}
	for _, d := range to.spec.Disks {
		if _, stays := from.units[d.Serial]; !stays && d.Kind != portlayer.DiskVolume {
			changes = append(changes, h.addDisk(d, controller, to.units[d.Serial]))
		}
	}
	return changes
}
