package vsphere

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
)

// seenVM is what one look at a VM gave.
type seenVM struct {
	mo.VirtualMachine
	// hidden is why its configuration can't be read; empty where it could.
	hidden string
}

// lost reports whether vSphere itself has no hold of the VM, rather than being about to make it.
func (s seenVM) lost() bool {
	state := s.Runtime.ConnectionState
	return state != "" && state != types.VirtualMachineConnectionStateConnected
}

// seenVMs are those of an answer. What one of them does not show hides no other.
func seenVMs(content []types.ObjectContent) ([]seenVM, error) {
	var all []seenVM
	for _, c := range content {
		missing := c.MissingSet
		c.MissingSet = nil
		var vm []mo.VirtualMachine
		if err := mo.LoadObjectContent([]types.ObjectContent{c}, &vm); err != nil {
			return nil, err
		}
		seen := seenVM{VirtualMachine: vm[0]}
		switch {
		case len(missing) > 0:
			why := soap.WrapVimFault(missing[0].Fault.Fault)
			if fault.Is(why, &types.ManagedObjectNotFound{}) || fault.Is(why, &types.NotAuthenticated{}) {
				return nil, why
			}
			seen.hidden = fmt.Sprintf("its %s can't be read: %v", missing[0].Path, why)
		case seen.Config == nil:
			seen.hidden = fmt.Sprintf("it has no configuration, and its connection state is %q", seen.Runtime.ConnectionState)
		}
		all = append(all, seen)
	}
	return all, nil
}

// retrieve reads VMs by their objects. ManagedObjectNotFound where one is gone.
func (i *inventory) retrieve(ctx context.Context, refs ...types.ManagedObjectReference) ([]seenVM, error) {
	var content []types.ObjectContent
	if err := property.DefaultCollector(i.client).Retrieve(ctx, refs, vmFacts, &content); err != nil {
		return nil, err
	}
	return seenVMs(content)
}

// read reads some VMs. Another update reports one that is gone meanwhile; all are read then.
func (i *inventory) read(ctx context.Context, refs []types.ManagedObjectReference) error {
	if len(refs) == 0 {
		return nil
	}
	touched := i.touches()
	vms, err := i.retrieve(ctx, refs...)
	if fault.Is(err, &types.ManagedObjectNotFound{}) {
		return i.readAll(ctx)
	}
	if err != nil {
		return fmt.Errorf("read VMs: %w", err)
	}
	return i.read(ctx, i.take(ctx, vms, touched))
}

// readAll reads the whole folder, and looks elsewhere for those that it has no more.
func (i *inventory) readAll(ctx context.Context) error {
	touched := i.touches()
	v, err := view.NewManager(i.client).CreateContainerView(ctx, i.folder, []string{"VirtualMachine"}, true)
	if err != nil {
		return fmt.Errorf("list VMs: %w", err)
	}
	defer destroy(ctx, v)
	var content []types.ObjectContent
	err = v.Retrieve(ctx, []string{"VirtualMachine"}, vmFacts, &content)
	vms, loadErr := seenVMs(content)
	if err = errors.Join(err, loadErr); err != nil {
		return fmt.Errorf("list VMs: %w", err)
	}
	skipped := i.take(ctx, vms, touched)
	if err := i.miss(ctx, i.missing(vms, touched), touched); err != nil {
		return err
	}
	return i.read(ctx, skipped)
}

// missing are the VMs that a look at the whole folder has not shown, and that none of our operations has changed since.
func (i *inventory) missing(shown []seenVM, touched map[types.ManagedObjectReference]uint64) []ownedVM {
	there := map[types.ManagedObjectReference]bool{}
	for _, vm := range shown {
		there[vm.Self] = true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.looked = true
	maps.DeleteFunc(i.foreign, func(ref types.ManagedObjectReference, _ error) bool { return !there[ref] })
	maps.DeleteFunc(i.unread, func(ref types.ManagedObjectReference, _ unreadVM) bool { return !there[ref] })
	var missing []ownedVM
	for ref, vm := range i.vms {
		switch {
		case there[ref]:
			vm.outside = false
			i.vms[ref] = vm
		case i.touched[ref] == touched[ref]:
			missing = append(missing, vm)
		}
	}
	return missing
}

func (i *inventory) touches() map[types.ManagedObjectReference]uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.touched)
}

// take takes what was read, of VMs that none of our operations has changed since. It returns those others.
func (i *inventory) take(ctx context.Context, vms []seenVM, touched map[types.ManagedObjectReference]uint64) (skipped []types.ManagedObjectReference) {
	var news []string
	i.mu.Lock()
	for _, seen := range vms {
		vm, ours := i.recognizeLocked(ctx, seen)
		if !ours {
			continue
		}
		if i.touched[vm.ref] != touched[vm.ref] {
			skipped = append(skipped, vm.ref)
			continue
		}
		if was, ok := i.vms[vm.ref]; ok {
			vm.remember(was)
		}
		if vm.on && vm.ranAt.IsZero() {
			vm.ranAt = time.Now().UTC()
		}
		i.vms[vm.ref] = vm
		news = append(news, vm.uid())
	}
	i.mu.Unlock()
	for _, uid := range news {
		i.hooks.notify(uid)
	}
	return skipped
}

// recognizeLocked reads what a VM carries; false for one that is none of our pod VMs, or of which that is not known.
func (i *inventory) recognizeLocked(ctx context.Context, seen seenVM) (ownedVM, bool) {
	ref := seen.Self
	delete(i.foreign, ref)
	if seen.hidden != "" {
		i.hideLocked(ctx, seen)
		return ownedVM{}, false
	}
	vm, ours, err := readVM(seen.VirtualMachine)
	_, known := i.vms[ref]
	switch format, other := errors.AsType[*portlayer.FormatError](err); {
	case other:
		i.foreign[ref] = format
	case err != nil:
		i.leaveAloneLocked(ctx, ref, err)
		seen.hidden = err.Error()
		i.hideLocked(ctx, seen)
		return vm, false
	case ours && vm.uuid != i.hooks.named(vm.uid()):
		i.leaveAloneLocked(ctx, ref, fmt.Errorf("VM %s says that it is pod %s's, and its instance UUID is another: it is a copy, or another VCH's", ref.Value, vm.uid()))
		ours = false
	case known && !ours:
		seen.hidden = "it carries no record of a pod any more"
		i.hideLocked(ctx, seen)
		return vm, false
	}
	delete(i.unread, ref)
	return vm, ours && err == nil
}

// leaveAloneLocked says once of a VM why it is none of ours.
func (i *inventory) leaveAloneLocked(ctx context.Context, ref types.ManagedObjectReference, why error) {
	if i.strange[ref] {
		return
	}
	i.strange[ref] = true
	logging.From(ctx).WarnContext(ctx, "VM left alone", "err", why)
}
