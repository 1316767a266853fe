package vsphere

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	memoryUnit = 4 << 20 // vSphere API reference, VirtualMachineConfigSpec.memoryMB
	mib        = 1 << 20
	managedBy  = "com.github.virtual-kubelet.vic"
)

// Create makes the VM with one task.
func (h *Hypervisor) Create(ctx context.Context, spec portlayer.VMSpec) (portlayer.VM, error) {
	m, err := h.create(ctx, spec.Clone())
	if err != nil {
		return portlayer.VM{}, fmt.Errorf("create pod VM %q: %w", spec.Identity.UID, translate(err))
	}
	return m.view(), nil
}

func (h *Hypervisor) create(ctx context.Context, spec portlayer.VMSpec) (machine, error) {
	if err := h.checkSpec(spec); err != nil {
		return machine{}, err
	}
	uid := spec.Identity.UID
	giveBack, err := h.changing.Take(ctx, uid)
	if err != nil {
		return machine{}, err
	}
	defer giveBack()
	if !h.seen.isCurrent() { // a call before may have made it, whose answer got lost
		if err := h.seen.readAll(ctx); err != nil {
			return machine{}, err
		}
	}
	if _, ok := h.seen.find(uid); ok {
		return machine{}, portlayer.ErrExists
	}
	release, err := h.disks.use(spec.Disks)
	if err != nil {
		return machine{}, err
	}
	defer release()
	m := machine{
		uuid: h.instanceUUID(uid), record: record{spec: spec, version: 1, units: placeDisks(nil, spec.Disks)}, createdAt: time.Now(),
	}
	config, err := h.configSpec(m.record)
	if err != nil {
		return machine{}, err
	}
	// A task that nobody waits for any more goes on: what it makes is found, and is the pod's VM.
	task, err := h.place.folder.CreateVM(ctx, config, h.place.pool, nil)
	result, err := h.tasks.await(ctx, task, err)
	if errors.Is(err, errTaskLost) || lost(err) {
		return h.created(ctx, uid, err)
	}
	if err != nil {
		return machine{}, err
	}
	ref, ok := result.(types.ManagedObjectReference)
	if !ok {
		return machine{}, fmt.Errorf("task has made %T and no VM", result)
	}
	m.ref = ref
	h.seen.put(m)
	return m, nil
}

// created looks for the VM of a task whose beginning or end nobody saw.
func (h *Hypervisor) created(ctx context.Context, uid string, unseen error) (machine, error) {
	if err := h.seen.readAll(ctx); err != nil {
		return machine{}, err
	}
	if m, ok := h.seen.find(uid); ok {
		return m, nil
	}
	return machine{}, fmt.Errorf("%w, and there is no VM: %w", unseen, portlayer.ErrBusy)
}

func (h *Hypervisor) configSpec(r record) (types.VirtualMachineConfigSpec, error) {
	id := r.spec.Identity
	devices, err := h.devices(r)
	if err != nil {
		return types.VirtualMachineConfigSpec{}, fmt.Errorf("devices: %w", err)
	}
	extra, err := r.extraConfig()
	if err != nil {
		return types.VirtualMachineConfigSpec{}, err
	}
	config := types.VirtualMachineConfigSpec{
		Name:         vmName(id),
		InstanceUuid: h.instanceUUID(id.UID),
		GuestId:      string(types.VirtualMachineGuestOsIdentifierOtherLinux64Guest),
		Firmware:     string(types.GuestOsDescriptorFirmwareTypeEfi),
		Files:        &types.VirtualMachineFileInfo{VmPathName: h.place.datastore.Path("")},
		Annotation:   fmt.Sprintf("Pod %s/%s (UID %s) of node %s. Made by vic; changes are undone or lost.", id.Namespace, id.Name, id.UID, id.NodeName),
		ManagedBy:    &types.ManagedByInfo{ExtensionKey: managedBy, Type: "pod"},
		ExtraConfig:  append(extra, &types.OptionValue{Key: "disk.EnableUUID", Value: "TRUE"}),
		DeviceChange: devices,
	}
	setSize(&config, r.spec.Size)
	return config, nil
}

func setSize(config *types.VirtualMachineConfigSpec, size portlayer.Size) {
	config.NumCPUs, config.MemoryMB = int32(size.VCPUs), size.MemoryBytes/mib
	config.CpuAllocation = &types.ResourceAllocationInfo{Shares: &types.SharesInfo{
		// Shares weigh VMs that want more than there is; a thousand is what vSphere gives to one processor.
		Level: types.SharesLevelCustom, Shares: int32(max(size.CPUMilli, 1)),
	}}
}

// Destroy removes the VM. Its disks are its own: children of images, and scratch.
func (h *Hypervisor) Destroy(ctx context.Context, uid string) error {
	m, giveBack, err := h.change(ctx, uid)
	if errors.Is(err, portlayer.ErrNotFound) {
		return nil
	}
	if err == nil {
		defer giveBack()
		err = h.destroy(ctx, m)
	}
	if err = translate(err); err != nil && !errors.Is(err, portlayer.ErrNotFound) {
		return fmt.Errorf("destroy pod VM %s: %w", uid, err)
	}
	return nil
}

func (h *Hypervisor) destroy(ctx context.Context, m machine) error {
	if err := h.cutPower(ctx, m); err != nil {
		return err
	}
	task, err := h.vm(m).Destroy(ctx)
	_, err = h.tasks.await(ctx, task, err)
	if err == nil || errors.Is(translate(err), portlayer.ErrNotFound) {
		h.seen.drop(m)
	}
	return err
}
