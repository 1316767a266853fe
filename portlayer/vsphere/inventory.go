package vsphere

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/portlayer"
)

// relistPeriod is how often everything is read again, whatever the collector said.
const relistPeriod = time.Minute

// inventory is what the folder has, as it was last seen. Our own operations write to it what they did; a read that began
// before that does not count.
type inventory struct {
	session *Session
	client  *vim25.Client
	folder  types.ManagedObjectReference
	hooks   hooks

	mu      sync.Mutex // guards what follows
	vms     map[types.ManagedObjectReference]ownedVM
	touched map[types.ManagedObjectReference]uint64 // by our own operations, how often
	strange map[types.ManagedObjectReference]bool   // VMs that are left alone, and were logged
	foreign map[types.ManagedObjectReference]error  // VMs whose records have another format
	current bool                                    // the collector reports every change
	since   time.Time                               // current or not
}

// hooks are what an inventory needs of the hypervisor.
type hooks struct {
	// notify is called with a VM that has changed, and forget of an instance UUID that is gone.
	notify func(uid string)
	forget func(vm string)
	// named is the instance UUID that a pod's VM has.
	named func(uid string) string
}

func newInventory(session *Session, folder types.ManagedObjectReference, hooks hooks) *inventory {
	return &inventory{
		session: session, client: session.client, folder: folder, hooks: hooks, since: time.Now(),
		vms: map[types.ManagedObjectReference]ownedVM{}, touched: map[types.ManagedObjectReference]uint64{},
		strange: map[types.ManagedObjectReference]bool{}, foreign: map[types.ManagedObjectReference]error{},
	}
}

// list returns all pod VMs. While nothing reports changes it reads them.
func (i *inventory) list(ctx context.Context) ([]portlayer.VM, error) {
	if !i.isCurrent() {
		if err := i.readAll(ctx); err != nil {
			return nil, err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, err := range i.foreign {
		return nil, err // a VM that was left out would be made once more
	}
	vms := make([]portlayer.VM, 0, len(i.vms))
	for _, vm := range i.vms {
		vms = append(vms, vm.view())
	}
	return vms, nil
}

// find returns the VM of a pod; false where there is none.
func (i *inventory) find(uid string) (ownedVM, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, vm := range i.vms {
		if vm.uid() == uid {
			return vm, true
		}
	}
	return ownedVM{}, false
}

// hasAddress reports whether a VM was given an address.
func (i *inventory) hasAddress(a netip.Addr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, vm := range i.vms {
		if slices.ContainsFunc(vm.record.spec.NICs, func(n portlayer.NIC) bool { return n.Has(a) }) {
			return true
		}
	}
	return false
}

// named returns the VM with an instance UUID; false where there is none.
func (i *inventory) named(uuid string) (ownedVM, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, vm := range i.vms {
		if vm.uuid == uuid {
			return vm, true
		}
	}
	return ownedVM{}, false
}

// put takes what one of our operations made of a VM. Its power is what was seen last, whatever it was when the operation
// began.
func (i *inventory) put(vm ownedVM) {
	i.mu.Lock()
	if was, ok := i.vms[vm.ref]; ok {
		vm.on, vm.bootedAt = was.on, was.bootedAt
		if vm.ranAt.IsZero() {
			vm.ranAt = was.ranAt
		}
	}
	i.putLocked(vm)
	i.mu.Unlock()
	i.hooks.notify(vm.uid())
}

// putOff takes that one of our operations has powered a VM off.
func (i *inventory) putOff(vm ownedVM) {
	vm.on, vm.bootedAt = false, time.Time{}
	i.mu.Lock()
	i.putLocked(vm)
	i.mu.Unlock()
	i.hooks.notify(vm.uid())
}

func (i *inventory) putLocked(vm ownedVM) {
	i.touched[vm.ref]++
	i.vms[vm.ref] = vm
}

// drop takes that one of our operations removed a VM.
func (i *inventory) drop(vm ownedVM) {
	i.mu.Lock()
	i.touched[vm.ref]++
	delete(i.vms, vm.ref)
	i.mu.Unlock()
	i.gone(vm)
}

// gone notifies those who have something for a VM.
func (i *inventory) gone(vm ownedVM) {
	i.hooks.forget(vm.uuid)
	i.hooks.notify(vm.uid())
}

// running is the memory of all VMs that are on.
func (i *inventory) running() (memoryBytes int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, vm := range i.vms {
		if vm.on {
			memoryBytes += vm.record.spec.Size.MemoryBytes
		}
	}
	return memoryBytes
}

// hasDisk reports whether a VM has a child of an image's disk.
func (i *inventory) hasDisk(ref portlayer.DiskRef) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, vm := range i.vms {
		if slices.ContainsFunc(vm.record.spec.Disks, func(d portlayer.Disk) bool { return d.Ref == ref }) {
			return true
		}
	}
	return false
}

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
	for _, u := range updates {
		if u.Kind == types.ObjectUpdateKindLeave {
			i.leave(u.Obj)
		} else {
			changed = append(changed, u.Obj)
		}
	}
	return i.read(ctx, changed)
}

func (i *inventory) leave(ref types.ManagedObjectReference) {
	i.mu.Lock()
	vm, known := i.vms[ref]
	delete(i.vms, ref)
	delete(i.touched, ref)
	delete(i.foreign, ref)
	i.mu.Unlock()
	if known {
		i.gone(vm)
	}
}

// read reads some VMs. Another update reports one that is gone meanwhile; all are read then.
func (i *inventory) read(ctx context.Context, refs []types.ManagedObjectReference) error {
	if len(refs) == 0 {
		return nil
	}
	touched := i.touches()
	var vms []mo.VirtualMachine
	err := property.DefaultCollector(i.client).Retrieve(ctx, refs, vmFacts, &vms)
	if fault.Is(err, &types.ManagedObjectNotFound{}) {
		return i.readAll(ctx)
	}
	if err != nil {
		return fmt.Errorf("read VMs: %w", err)
	}
	return i.read(ctx, i.take(ctx, vms, touched))
}

// readAll reads the whole folder, and drops what it has no more.
func (i *inventory) readAll(ctx context.Context) error {
	touched := i.touches()
	v, err := view.NewManager(i.client).CreateContainerView(ctx, i.folder, []string{"VirtualMachine"}, true)
	if err != nil {
		return fmt.Errorf("list VMs: %w", err)
	}
	defer destroy(ctx, v)
	var vms []mo.VirtualMachine
	if err := v.Retrieve(ctx, []string{"VirtualMachine"}, vmFacts, &vms); err != nil {
		return fmt.Errorf("list VMs: %w", err)
	}
	there := map[types.ManagedObjectReference]bool{}
	for _, vm := range vms {
		there[vm.Self] = true
	}
	skipped := i.take(ctx, vms, touched)
	var gone []ownedVM
	i.mu.Lock()
	maps.DeleteFunc(i.foreign, func(ref types.ManagedObjectReference, _ error) bool { return !there[ref] })
	for ref, vm := range i.vms {
		if !there[ref] && i.touched[ref] == touched[ref] {
			gone = append(gone, vm)
			delete(i.vms, ref)
		}
	}
	i.mu.Unlock()
	for _, vm := range gone {
		i.gone(vm)
	}
	return i.read(ctx, skipped)
}

func (i *inventory) touches() map[types.ManagedObjectReference]uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.touched)
}

// take takes what was read, of VMs that none of our operations has changed since. It returns those others.
func (i *inventory) take(ctx context.Context, vms []mo.VirtualMachine, touched map[types.ManagedObjectReference]uint64) (skipped []types.ManagedObjectReference) {
	var news []string
	i.mu.Lock()
	for _, read := range vms {
		vm, ours, err := readVM(read)
		if ours && err == nil && vm.uuid != i.hooks.named(vm.uid()) {
			err = fmt.Errorf("VM %s says that it is pod %s's, and its instance UUID is another: it is a copy, or another VCH's", read.Self.Value, vm.uid())
		}
		delete(i.foreign, read.Self)
		if format, ok := errors.AsType[*portlayer.FormatError](err); ok {
			i.foreign[read.Self] = format
		} else if err != nil {
			i.leaveAloneLocked(ctx, read.Self, err)
		}
		if !ours || err != nil {
			continue
		}
		if i.touched[read.Self] != touched[read.Self] {
			skipped = append(skipped, read.Self)
			continue
		}
		if was, ok := i.vms[read.Self]; ok {
			vm.remember(was)
		}
		if vm.on && vm.ranAt.IsZero() {
			vm.ranAt = time.Now().UTC()
		}
		i.vms[read.Self] = vm
		news = append(news, vm.uid())
	}
	i.mu.Unlock()
	for _, uid := range news {
		i.hooks.notify(uid)
	}
	return skipped
}

// leaveAloneLocked says once of a VM why it is none of ours.
func (i *inventory) leaveAloneLocked(ctx context.Context, ref types.ManagedObjectReference, why error) {
	if i.strange[ref] {
		return
	}
	i.strange[ref] = true
	logging.From(ctx).WarnContext(ctx, "VM left alone", "err", why)
}
