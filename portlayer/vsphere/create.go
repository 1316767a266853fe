package vsphere

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

const (
	memoryUnit = 4 << 20 // vSphere API reference, VirtualMachineConfigSpec.memoryMB
	mib        = 1 << 20
	managedBy  = "com.github.virtual-kubelet.vic"
)

// Create makes the VM with one task.
func (h *Hypervisor) Create(ctx context.Context, spec portlayer.Spec) (portlayer.VM, error) {
	vm, err := h.create(ctx, spec.Clone())
	if err != nil {
		return portlayer.VM{}, fmt.Errorf("create VM %q: %w", spec.ID, vcenter.Translate(err))
	}
	return vm.view(), nil
}

func (h *Hypervisor) create(ctx context.Context, spec portlayer.Spec) (ownedVM, error) {
	if err := h.checkSpec(spec); err != nil {
		return ownedVM{}, err
	}
	if len(spec.Volumes()) > 0 {
		return ownedVM{}, fmt.Errorf("a VM that is being made has no volumes: %w", portlayer.ErrUnsupported)
	}
	uid := spec.ID
	giveBack, err := h.changing.Take(ctx, uid)
	if err != nil {
		return ownedVM{}, err
	}
	defer giveBack()
	if !h.seen.isCurrent() { // a call before may have made it, whose answer got lost
		if err := h.seen.readAll(ctx); err != nil {
			return ownedVM{}, err
		}
	}
	if _, err := h.seen.find(uid); !errors.Is(err, portlayer.ErrNotFound) {
		return ownedVM{}, cmp.Or(err, portlayer.ErrExists)
	}
	if err := h.twin(ctx, uid); err != nil {
		return ownedVM{}, err
	}
	release, err := h.disks.use(spec.Disks)
	if err != nil {
		return ownedVM{}, err
	}
	defer release()
	vm := ownedVM{
		uuid: h.instanceUUID(uid), record: record{spec: spec, version: 1, units: placeDisks(nil, bootFirst(spec))}, createdAt: time.Now(),
	}
	config, err := h.configSpec(vm.record)
	if err != nil {
		return ownedVM{}, err
	}
	// It is made to be started: what its first boot needs comes with it, rather than by a task of its own.
	boot, err := h.armBoot(&vm)
	if err != nil {
		return ownedVM{}, err
	}
	config.ExtraConfig = append(config.ExtraConfig, boot...)
	vm.armed = true
	// A task that nobody waits for any more goes on: what it makes is found, and is the pod's VM.
	task, err := h.place.folder.CreateVM(ctx, config, h.place.pool, nil)
	result, err := h.tasks.await(ctx, task, err)
	if errors.Is(err, vcenter.ErrTaskLost) || vcenter.Lost(err) {
		return h.created(ctx, uid, err)
	}
	if err != nil {
		h.missed(err, spec.Disks)
		return ownedVM{}, err
	}
	ref, ok := result.(types.ManagedObjectReference)
	if !ok {
		return h.created(ctx, uid, fmt.Errorf("task has made %T and no VM", result))
	}
	vm.ref = ref
	h.seen.put(vm)
	return vm, nil
}

// missed notes that a VM was refused for want of a disk.
func (h *Hypervisor) missed(err error, disks []portlayer.Disk) {
	if fault.Is(err, &types.FileNotFound{}) {
		h.disks.lose(disks)
	}
}

// created looks for the VM of a task whose beginning or end nobody saw.
func (h *Hypervisor) created(ctx context.Context, uid string, unseen error) (ownedVM, error) {
	if err := h.seen.readAll(ctx); err != nil {
		return ownedVM{}, err
	}
	vm, err := h.seen.find(uid)
	if errors.Is(err, portlayer.ErrNotFound) {
		return ownedVM{}, fmt.Errorf("%w, and there is no VM: %w", unseen, portlayer.ErrBusy)
	}
	return vm, err // its first power-on gives it another token
}

func (h *Hypervisor) configSpec(r record) (types.VirtualMachineConfigSpec, error) {
	owner := r.spec.Owner
	devices, err := h.devices(r)
	if err != nil {
		return types.VirtualMachineConfigSpec{}, fmt.Errorf("devices: %w", err)
	}
	extra, err := r.extraConfig()
	if err != nil {
		return types.VirtualMachineConfigSpec{}, err
	}
	config := types.VirtualMachineConfigSpec{
		Name:         vmName(owner),
		InstanceUuid: h.instanceUUID(r.spec.ID),
		GuestId:      string(types.VirtualMachineGuestOsIdentifierOtherLinux64Guest),
		Firmware:     string(types.GuestOsDescriptorFirmwareTypeEfi),
		Files:        &types.VirtualMachineFileInfo{VmPathName: h.place.datastore.Path("")},
		Annotation:   annotation(r.spec),
		ManagedBy:    &types.ManagedByInfo{ExtensionKey: managedBy, Type: "pod"},
		ExtraConfig: append(extra,
			&types.OptionValue{Key: "disk.EnableUUID", Value: "TRUE"},
			// Only the guest's root reads the boot blob, and no container.
			&types.OptionValue{Key: "monitor_control.restrict_backdoor", Value: "TRUE"}),
		DeviceChange: devices,
		VmProfile:    h.place.policy,
	}
	h.setSize(&config, r.spec.Size)
	return config, nil
}

// annotation says to people whose VM it is.
func annotation(s portlayer.Spec) string {
	o := s.Owner
	name := strings.TrimPrefix(o.Namespace+"/"+o.Name, "/")
	return fmt.Sprintf("%s %s (UID %s) of node %s. Made by vic; changes are undone or lost.", o.Kind, name, o.UID, o.Node)
}

func (h *Hypervisor) setSize(config *types.VirtualMachineConfigSpec, size portlayer.Size) {
	config.NumCPUs, config.MemoryMB = int32(size.VCPUs), size.MemoryBytes/mib
	config.CpuAllocation = &types.ResourceAllocationInfo{Shares: &types.SharesInfo{
		// Shares weigh VMs that want more than there is; a thousand is what vSphere gives to one processor.
		Level: types.SharesLevelCustom, Shares: int32(max(size.CPUMilli, 1)),
	}}
	if h.config.ReserveMemory {
		// A swap file is as large as what of the memory is not reserved (vSphere Resource Management, VM swap files).
		config.MemoryAllocation = &types.ResourceAllocationInfo{Reservation: new(config.MemoryMB)}
		config.MemoryReservationLockedToMax = new(true)
	}
}
