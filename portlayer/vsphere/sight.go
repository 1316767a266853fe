package vsphere

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

const (
	// beingMade is how long a VM may have no configuration because somebody makes it just now.
	beingMade = 10 * time.Second
	// doubt is how long all VMs may be gone at once before that is believed: vCenter may be coming up, or be another.
	doubt = time.Minute
	// namedAtMost is how many VMs a condition names.
	namedAtMost = 5
)

// unreadVM is a VM of the folder that can't be read, and may be a pod's.
type unreadVM struct {
	name, why string
	// since is when it was first seen so; zero for one that vSphere has lost, and for one that was so when we came.
	since time.Time
}

// hideLocked takes that a VM is there and can't be read.
func (i *inventory) hideLocked(ctx context.Context, seen seenVM) {
	if _, known := i.vms[seen.Self]; known {
		i.setAwayLocked(ctx, seen.Self, seen.hidden)
		return
	}
	u, before := i.unread[seen.Self]
	if !before && i.looked {
		u.since = time.Now()
	}
	if seen.lost() {
		u.since = time.Time{}
	}
	u.name, u.why = cmp.Or(seen.Name, seen.Self.Value), seen.hidden
	i.unread[seen.Self] = u
}

// setAwayLocked notes why a VM can't be seen as it is, and says so once.
func (i *inventory) setAwayLocked(ctx context.Context, ref types.ManagedObjectReference, why string) {
	vm := i.vms[ref]
	if vm.away == "" {
		logging.From(ctx).WarnContext(ctx, "pod VM out of sight, and taken for what it was", "vm", vm.uid(), "err", why)
	}
	vm.away = why
	i.vms[ref] = vm
}

// miss looks for VMs that the folder does not show. One is gone only where vSphere knows neither its object nor its instance
// UUID; others stay.
func (i *inventory) miss(ctx context.Context, missing []ownedVM, touched map[types.ManagedObjectReference]uint64) error {
	var gone []ownedVM
	for _, vm := range missing {
		seen, there, err := i.lookFor(ctx, vm)
		switch {
		case err != nil:
			return fmt.Errorf("look for VM %s: %w", vm.uid(), err)
		case !there:
			gone = append(gone, vm)
		default:
			i.takeElsewhere(ctx, vm, seen, touched)
		}
	}
	i.lose(ctx, gone, touched)
	return nil
}

// lookFor reads a VM wherever it is; false for one that is gone. One that was registered anew has another object.
func (i *inventory) lookFor(ctx context.Context, vm ownedVM) (seenVM, bool, error) {
	seen, there, err := i.look(ctx, vm.ref)
	if err != nil || there && (seen.hidden != "" || seen.Config.InstanceUuid == vm.uuid) {
		return seen, there, err
	}
	ref, err := i.search(ctx, vm.uuid)
	if err != nil || ref == nil {
		return seenVM{}, false, err
	}
	return i.look(ctx, *ref)
}

// look reads one object; false where there is none.
func (i *inventory) look(ctx context.Context, ref types.ManagedObjectReference) (seenVM, bool, error) {
	seen, err := i.retrieve(ctx, ref)
	switch {
	case fault.Is(err, &types.ManagedObjectNotFound{}):
		return seenVM{}, false, nil
	case fault.Is(err, &types.NoPermission{}):
		hidden := seenVM{hidden: "this account may not read it"}
		hidden.Self = ref
		return hidden, true, nil
	case err != nil:
		return seenVM{}, false, err
	case len(seen) == 0:
		return seenVM{}, false, nil
	}
	return seen[0], true, nil
}

// search returns the VM of the datacenter that has an instance UUID; nil where this account sees none.
func (i *inventory) search(ctx context.Context, uuid string) (*types.ManagedObjectReference, error) {
	found, err := object.NewSearchIndex(i.client).FindByUuid(ctx, i.datacenter, uuid, true, new(true))
	if err != nil {
		return nil, fmt.Errorf("search VM %s: %w", uuid, err)
	}
	if found == nil {
		return nil, nil //nolint:nilnil // there is none
	}
	return new(found.Reference()), nil
}

// takeElsewhere takes a VM that is there and not in the folder.
func (i *inventory) takeElsewhere(ctx context.Context, vm ownedVM, seen seenVM, touched map[types.ManagedObjectReference]uint64) {
	i.mu.Lock()
	if was, ok := i.vms[vm.ref]; ok && seen.Self != vm.ref {
		delete(i.vms, vm.ref)
		was.ref = seen.Self
		i.vms[seen.Self] = was
	}
	i.mu.Unlock()
	i.take(ctx, []seenVM{seen}, touched)
	i.mu.Lock()
	defer i.mu.Unlock()
	if now, ok := i.vms[seen.Self]; ok && !now.outside {
		now.outside = true
		i.vms[seen.Self] = now
		logging.From(ctx).WarnContext(ctx, "pod VM is not in the folder", "vm", now.uid())
	}
}

// lose takes that VMs are gone, unless those are all at once.
func (i *inventory) lose(ctx context.Context, gone []ownedVM, touched map[types.ManagedObjectReference]uint64) {
	i.mu.Lock()
	keep := i.doubtLocked(len(gone), time.Now())
	for n, vm := range gone {
		switch {
		case i.touched[vm.ref] != touched[vm.ref]:
			gone[n].ref = types.ManagedObjectReference{}
		case keep:
			i.setAwayLocked(ctx, vm.ref, "vSphere shows none of the VMs any more, and is asked again")
		default:
			delete(i.vms, vm.ref)
			delete(i.touched, vm.ref)
			delete(i.foreign, vm.ref)
		}
	}
	i.mu.Unlock()
	if keep {
		return
	}
	for _, vm := range gone {
		if vm.ref.Value != "" {
			i.gone(vm)
		}
	}
}

// doubtLocked reports whether it is too early to believe that so many VMs are gone.
func (i *inventory) doubtLocked(gone int, now time.Time) bool {
	if gone < 2 || gone < len(i.vms) {
		i.allGone = time.Time{}
		return false
	}
	if i.allGone.IsZero() {
		i.allGone = now
	}
	return now.Sub(i.allGone) < doubt
}

// recall takes VMs that a former process knew and the folder does not show, unless they are gone.
func (i *inventory) recall(ctx context.Context, known []ownedVM) error {
	for _, vm := range known {
		if _, err := i.find(vm.uid()); err == nil {
			continue
		}
		seen, there, err := i.lookFor(ctx, vm)
		if err != nil {
			return fmt.Errorf("look for VM %s: %w", vm.uid(), err)
		}
		if !there {
			continue
		}
		i.mu.Lock()
		i.vms[vm.ref] = vm
		delete(i.unread, seen.Self)
		i.mu.Unlock()
		i.takeElsewhere(ctx, vm, seen, i.touches())
	}
	return nil
}

// Recall implements portlayer.Recaller.
func (h *Hypervisor) Recall(ctx context.Context, vms []portlayer.VM) error {
	var known []ownedVM
	for _, vm := range vms {
		known = append(known, ownedBefore(vm, h.instanceUUID(vm.ID())))
	}
	if err := h.seen.recall(ctx, known); err != nil {
		return fmt.Errorf("recall VMs: %w", vcenter.Translate(err))
	}
	return nil
}

// ownedBefore is a VM as it was seen once. What it carries of its guest's joining is not known.
func ownedBefore(vm portlayer.VM, uuid string) ownedVM {
	owned := ownedVM{
		ref: types.ManagedObjectReference{Type: "VirtualMachine", Value: vm.Ref}, uuid: uuid, createdAt: vm.CreatedAt,
		record: record{spec: vm.Spec, version: vm.Version, units: vm.Targets},
		on:     vm.State == portlayer.StateRunning, ranAt: vm.StartedAt,
	}
	owned.record.power = power{StartedAt: vm.StartedAt, Off: vm.State == portlayer.StateStopped && vm.StopReason == "", Reason: vm.StopReason}
	if owned.on {
		owned.bootedAt = vm.StartedAt
	}
	return owned
}

// twin returns nil where there is no VM of a pod in all of the datacenter: ErrExists for one that is listed from now on, ErrBusy
// for one that can't be read.
func (h *Hypervisor) twin(ctx context.Context, uid string) error {
	ref, err := h.seen.search(ctx, h.instanceUUID(uid))
	if err != nil || ref == nil {
		return err
	}
	seen, there, err := h.seen.look(ctx, *ref)
	if err != nil || !there {
		return err
	}
	h.seen.take(ctx, []seenVM{seen}, h.seen.touches())
	if _, err := h.seen.find(uid); !errors.Is(err, portlayer.ErrNotFound) {
		return cmp.Or(err, portlayer.ErrExists)
	}
	return fmt.Errorf("its VM %s is there and can't be read: %s: %w", ref.Value, cmp.Or(seen.hidden, "it carries no record of the pod"), portlayer.ErrBusy)
}

// blind says which VMs can't be seen as they are: the names of those that may be anybody's, and a condition about all.
func (i *inventory) blind(now time.Time) (unreadable []string, c portlayer.Condition) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var all []string
	ofUID := map[string][]string{}
	for ref, vm := range i.vms {
		ofUID[vm.uid()] = append(ofUID[vm.uid()], ref.Value)
		why := vm.away
		if why == "" && vm.outside {
			why = "it is not in the VCH's folder"
		}
		if why != "" {
			all = append(all, fmt.Sprintf("%s (%s): %s", vmName(vm.record.spec.Owner), ref.Value, why))
		}
	}
	for uid, refs := range ofUID {
		if len(refs) > 1 {
			slices.Sort(refs)
			all = append(all, fmt.Sprintf("pod %s has several VMs: %s", uid, strings.Join(refs, ", ")))
		}
	}
	for ref, vm := range i.unread {
		if now.Sub(vm.since) >= beingMade {
			unreadable = append(unreadable, vm.name)
			all = append(all, fmt.Sprintf("%s (%s): %s", vm.name, ref.Value, vm.why))
		}
	}
	slices.Sort(unreadable)
	return unreadable, blindness(all)
}

func blindness(all []string) portlayer.Condition {
	c := portlayer.Condition{Type: portlayer.ConditionVMsUnreadable, Reason: "PodVMsReadable", Message: "every VM of the folder can be read"}
	if len(all) == 0 {
		return c
	}
	slices.Sort(all)
	more := ""
	if n := len(all) - namedAtMost; n > 0 {
		all, more = all[:namedAtMost], fmt.Sprintf("; and %d more", n)
	}
	c.True, c.Reason, c.Message = true, "PodVMsUnreadable", strings.Join(all, "; ")+more
	return c
}
