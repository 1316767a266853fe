package vsphere

import (
	"context"
	"fmt"
	"maps"
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
	"github.com/virtual-kubelet/vic/portlayer"
)

// relistPeriod is how often everything is read again, whatever the collector said.
const relistPeriod = 5 * time.Minute

// inventory is what the folder has, as it was last seen. Our own operations write to it what they did; a read that began
// before that does not count.
type inventory struct {
	session *Session
	client  *vim25.Client
	folder  types.ManagedObjectReference
	notify  func(uid string)
	forget  func(vm string) // of instance UUIDs that are gone

	mu       sync.Mutex // guards what follows
	machines map[types.ManagedObjectReference]machine
	touched  map[types.ManagedObjectReference]uint64 // by our own operations, how often
	current  bool                                    // the collector tells of every change
	since    time.Time                               // current or not
}

func newInventory(session *Session, folder types.ManagedObjectReference, notify, forget func(string)) *inventory {
	return &inventory{
		session: session, client: session.client, folder: folder, notify: notify, forget: forget, since: time.Now(),
		machines: map[types.ManagedObjectReference]machine{}, touched: map[types.ManagedObjectReference]uint64{},
	}
}

// list returns all pod VMs. While nobody tells of changes it reads them.
func (i *inventory) list(ctx context.Context) ([]portlayer.VM, error) {
	if !i.isCurrent() {
		if err := i.readAll(ctx); err != nil {
			return nil, err
		}
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	vms := make([]portlayer.VM, 0, len(i.machines))
	for _, m := range i.machines {
		vms = append(vms, m.view())
	}
	return vms, nil
}

// find returns the VM of a pod; false where there is none.
func (i *inventory) find(uid string) (machine, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, m := range i.machines {
		if m.uid() == uid {
			return m, true
		}
	}
	return machine{}, false
}

// named returns the VM with an instance UUID; false where there is none.
func (i *inventory) named(uuid string) (machine, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, m := range i.machines {
		if m.uuid == uuid {
			return m, true
		}
	}
	return machine{}, false
}

// put takes what one of our operations made of a VM.
func (i *inventory) put(m machine) {
	i.mu.Lock()
	i.touched[m.ref]++
	i.machines[m.ref] = m
	i.mu.Unlock()
	i.notify(m.uid())
}

// drop takes that one of our operations removed a VM.
func (i *inventory) drop(m machine) {
	i.mu.Lock()
	i.touched[m.ref]++
	delete(i.machines, m.ref)
	i.mu.Unlock()
	i.gone(m)
}

// gone tells those who have something for a VM.
func (i *inventory) gone(m machine) {
	i.forget(m.uuid)
	i.notify(m.uid())
}

// running is the memory of all VMs that are on.
func (i *inventory) running() (memoryBytes int64) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, m := range i.machines {
		if m.on {
			memoryBytes += m.record.spec.Size.MemoryBytes
		}
	}
	return memoryBytes
}

// hasDisk tells whether a VM has a child of an image's disk.
func (i *inventory) hasDisk(ref portlayer.DiskRef) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, m := range i.machines {
		if slices.ContainsFunc(m.record.spec.Disks, func(d portlayer.Disk) bool { return d.Ref == ref }) {
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
		wait(ctx, lastPause)
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
	filter.Options = &types.WaitOptions{MaxWaitSeconds: types.NewInt32(maxWaitSeconds)}
	if _, err := pc.CreateFilter(ctx, filter.CreateFilter); err != nil {
		return fmt.Errorf("make filter of VMs: %w", err)
	}
	if err := i.readAll(ctx); err != nil {
		return err
	}
	read := time.Now()
	for {
		var failed error
		err := pc.WaitForUpdatesEx(ctx, &filter.WaitOptions, func(updates []types.ObjectUpdate) bool {
			failed = i.update(ctx, updates)
			i.setCurrent(failed == nil)
			return failed != nil
		})
		if err == nil {
			err = failed
		}
		if err == nil && time.Since(read) > relistPeriod {
			err, read = i.readAll(ctx), time.Now()
		}
		if err != nil || ctx.Err() != nil {
			return err
		}
	}
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
	m, known := i.machines[ref]
	delete(i.machines, ref)
	delete(i.touched, ref)
	i.mu.Unlock()
	if known {
		i.gone(m)
	}
}

// read reads some VMs. One that is gone meanwhile is told of by another update; all are read then.
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
	i.take(ctx, vms, touched)
	return nil
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
	i.take(ctx, vms, touched)
	var gone []machine
	i.mu.Lock()
	for ref, m := range i.machines {
		if !there[ref] && i.touched[ref] == touched[ref] {
			gone = append(gone, m)
			delete(i.machines, ref)
		}
	}
	i.mu.Unlock()
	for _, m := range gone {
		i.gone(m)
	}
	return nil
}

func (i *inventory) touches() map[types.ManagedObjectReference]uint64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.touched)
}

// take takes what was read, of VMs that none of our operations has changed since.
func (i *inventory) take(ctx context.Context, vms []mo.VirtualMachine, touched map[types.ManagedObjectReference]uint64) {
	var news []string
	i.mu.Lock()
	for _, vm := range vms {
		m, ours, err := readMachine(vm)
		if err != nil {
			logging.From(ctx).WarnContext(ctx, "VM left alone", "err", err)
		}
		if !ours || err != nil || i.touched[vm.Self] != touched[vm.Self] {
			continue
		}
		i.machines[vm.Self] = m
		news = append(news, m.uid())
	}
	i.mu.Unlock()
	for _, uid := range news {
		i.notify(uid)
	}
}
