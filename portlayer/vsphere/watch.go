package vsphere

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
)

// run keeps the inventory current until ctx ends.
func (i *inventory) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := i.session.during(ctx, i.watch)
		i.setCurrent(false)
		if ctx.Err() != nil {
			return
		}
		logging.From(ctx).WarnContext(ctx, "pod VMs are watched anew", "err", err)
		_ = wait.For(ctx, lastPause) // the loop sees that ctx has ended
	}
}

func (i *inventory) isCurrent() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.current
}

func (i *inventory) setCurrent(current bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.current != current {
		i.current, i.since = current, time.Now()
	}
}

// watch reads everything and takes changes until it breaks.
func (i *inventory) watch(ctx context.Context) error {
	v, err := view.NewManager(i.client).CreateContainerView(ctx, i.folder, []string{"VirtualMachine"}, true)
	if err != nil {
		return fmt.Errorf("make view of the folder: %w", err)
	}
	pc, err := property.DefaultCollector(i.client).Create(ctx)
	if err != nil {
		return fmt.Errorf("make collector of VMs: %w", err)
	}
	defer destroy(ctx, pc, v)
	filter := new(property.WaitFilter).Add(v.Reference(), "VirtualMachine", vmSigns, v.TraversalSpec())
	filter.Spec.ObjectSet[0].Skip = new(true)
	if _, err := pc.CreateFilter(ctx, filter.CreateFilter); err != nil {
		return fmt.Errorf("make filter of VMs: %w", err)
	}
	if err := i.readAll(ctx); err != nil {
		return err
	}
	read := time.Now()
	return follow(ctx, i.client, pc, func(updates []types.ObjectUpdate) error {
		if err := i.update(ctx, updates); err != nil {
			return err
		}
		i.setCurrent(true)
		if time.Since(read) < relistPeriod {
			return nil
		}
		read = time.Now()
		return i.readAll(ctx)
	})
}

// update reads what has changed.
func (i *inventory) update(ctx context.Context, updates []types.ObjectUpdate) error {
	var changed []types.ManagedObjectReference
	var left []ownedVM
	touched := i.touches()
	for _, u := range updates {
		if u.Kind != types.ObjectUpdateKindLeave {
			changed = append(changed, u.Obj)
		} else if vm, known := i.leave(u.Obj); known {
			left = append(left, vm)
		}
	}
	i.settle(ctx, left)
	if err := i.miss(ctx, left, touched); err != nil {
		return err
	}
	return i.read(ctx, changed)
}

// settle waits, for a few seconds at most, until VMs that were reported to leave the folder are gone: the report may come first.
func (i *inventory) settle(ctx context.Context, left []ownedVM) {
	there := func(vm ownedVM) bool {
		_, there, err := i.look(ctx, vm.ref)
		return there && err == nil
	}
	for pause := range retryPauses {
		if !slices.ContainsFunc(left, there) || wait.For(ctx, pause) != nil {
			return
		}
	}
}

// leave takes that the folder does not have a VM any more. It returns one of ours, which may be elsewhere.
func (i *inventory) leave(ref types.ManagedObjectReference) (ownedVM, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.unread, ref)
	vm, known := i.vms[ref]
	if !known {
		delete(i.touched, ref)
		delete(i.foreign, ref)
	}
	return vm, known
}
