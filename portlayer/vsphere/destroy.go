package vsphere

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// Destroy removes the VM with the disks that are its own: children of images, and scratch. It detaches other disks first, and
// these stay.
func (h *Hypervisor) Destroy(ctx context.Context, uid string) error {
	vm, giveBack, err := h.change(ctx, uid)
	if errors.Is(err, portlayer.ErrNotFound) {
		return nil
	}
	if err == nil {
		defer giveBack()
		err = h.destroy(ctx, vm)
	}
	if err = vcenter.Translate(err); err != nil && !errors.Is(err, portlayer.ErrNotFound) {
		return fmt.Errorf("destroy VM %s: %w", uid, err)
	}
	return nil
}

func (h *Hypervisor) destroy(ctx context.Context, vm ownedVM) error {
	if err := h.cutPower(ctx, vm); err != nil {
		return err
	}
	if err := h.detachForeign(ctx, vm); err != nil {
		return err
	}
	task, err := h.vm(vm).Destroy(ctx)
	_, err = h.tasks.await(ctx, task, err)
	if err == nil || errors.Is(vcenter.Translate(err), portlayer.ErrNotFound) {
		h.seen.drop(vm)
	}
	return err
}

// detachForeign takes disks out of a VM that are not its own: vSphere deletes the files of all disks of a VM with it.
func (h *Hypervisor) detachForeign(ctx context.Context, vm ownedVM) error {
	devices, err := h.devicesOf(ctx, vm)
	if err != nil {
		return err
	}
	units := slices.Collect(maps.Values(vm.record.ownUnits()))
	controller := ourController(devices)
	var foreign []types.BaseVirtualDeviceConfigSpec
	for _, d := range devices {
		disk, ok := d.(*types.VirtualDisk)
		switch {
		case !ok:
		case disk.VDiskId != nil:
			err := h.volumes.detachDisk(ctx, vm, disk.VDiskId.Id)
			if fault.Is(err, &types.NotFound{}) { // it is not a first-class disk any more, and a disk all the same
				foreign = append(foreign, removal(disk))
			} else if err != nil {
				return fmt.Errorf("volume %s: %w", disk.VDiskId.Id, err)
			}
		case disk.ControllerKey != controller || disk.UnitNumber == nil || !slices.Contains(units, *disk.UnitNumber):
			foreign = append(foreign, removal(disk))
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	logging.From(ctx).WarnContext(ctx, "disks detached that are not the VM's", "vm", vm.uid(), "disks", len(foreign))
	task, err := h.vm(vm).Reconfigure(ctx, types.VirtualMachineConfigSpec{DeviceChange: foreign})
	_, err = h.tasks.await(ctx, task, err)
	return err
}
