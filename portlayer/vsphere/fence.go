package vsphere

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

// free refuses a disk that another VM has, running or not: by what vSphere notes of it, and by the files of the VMs on its
// datastore, which also show a disk that was attached as a file.
func (v *volumes) free(ctx context.Context, vm ownedVM, disk types.VStorageObject) error {
	for _, consumer := range disk.Config.ConsumerId {
		name, ours, err := v.consumer(ctx, vm, consumer.Id)
		if err != nil {
			return err
		}
		if !ours {
			return inUse(name)
		}
	}
	return v.alone(ctx, vm, disk)
}

func inUse(by ...string) error {
	return fmt.Errorf("%w: it is attached to %s", portlayer.ErrVolumeInUse, strings.Join(by, ", "))
}

// consumer names a VM by the UUID that vSphere notes with a disk, and reports whether it is vm.
func (v *volumes) consumer(ctx context.Context, vm ownedVM, id string) (name string, ours bool, err error) {
	index := object.NewSearchIndex(v.h.client)
	for _, instance := range []bool{true, false} {
		found, err := index.FindByUuid(ctx, nil, id, true, &instance)
		if err != nil {
			return "", false, fmt.Errorf("find VM %s that has it: %w", id, err)
		}
		if found == nil {
			continue
		}
		var facts mo.VirtualMachine
		if err := property.DefaultCollector(v.h.client).RetrieveOne(ctx, found.Reference(), []string{"name"}, &facts); err != nil {
			return "", false, fmt.Errorf("read VM %s that has it: %w", id, err)
		}
		return "VM " + facts.Name, found.Reference() == vm.ref, nil
	}
	return "a VM that this account does not see (" + id + ")", false, nil
}

// alone refuses a disk whose file is among another VM's.
func (v *volumes) alone(ctx context.Context, vm ownedVM, disk types.VStorageObject) error {
	backing, ok := disk.Config.Backing.(types.BaseBaseConfigInfoFileBackingInfo)
	if !ok {
		return fmt.Errorf("it is %T and no file: %w", disk.Config.Backing, portlayer.ErrUnsupported)
	}
	info := backing.GetBaseConfigInfoFileBackingInfo()
	read := property.DefaultCollector(v.h.client)
	var store mo.Datastore
	if err := read.RetrieveOne(ctx, info.Datastore, []string{"vm"}, &store); err != nil {
		return fmt.Errorf("list VMs of its datastore: %w", err)
	}
	others := slices.DeleteFunc(store.Vm, func(ref types.ManagedObjectReference) bool { return ref == vm.ref })
	if len(others) == 0 {
		return nil
	}
	var vms []mo.VirtualMachine
	err := read.Retrieve(ctx, others, []string{"name", "layout", "runtime.connectionState"}, &vms)
	if fault.Is(err, &types.ManagedObjectNotFound{}) {
		return fmt.Errorf("VMs of its datastore come and go: %w", portlayer.ErrBusy)
	}
	if err != nil {
		return fmt.Errorf("read VMs of its datastore: %w", err)
	}
	var have []string
	for _, other := range vms {
		if other.Layout == nil && (seenVM{VirtualMachine: other}).lost() {
			return fmt.Errorf("VM %s of its datastore can't be read, and may have it: %w", other.Name, portlayer.ErrBusy)
		}
		if hasFile(other, info.FilePath) {
			have = append(have, "VM "+other.Name)
		}
	}
	if len(have) > 0 {
		return inUse(have...)
	}
	return nil
}

// hasFile reports whether a file is a disk of a VM, or below one of its snapshots.
func hasFile(vm mo.VirtualMachine, file string) bool {
	return vm.Layout != nil && slices.ContainsFunc(vm.Layout.Disk, func(d types.VirtualMachineFileLayoutDiskLayout) bool {
		return slices.Contains(d.DiskFile, file)
	})
}
