package vsphere

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

// relistPeriod is how often everything is read again, whatever the collector said.
const relistPeriod = time.Minute

// inventory is what the folder has, as it was last seen. Our own operations write to it what they did; a read that began
// before that does not count.
type inventory struct {
	session    *Session
	client     *vim25.Client
	datacenter *object.Datacenter
	folder     types.ManagedObjectReference
	hooks      hooks

	mu      sync.Mutex // guards what follows
	vms     map[types.ManagedObjectReference]ownedVM
	touched map[types.ManagedObjectReference]uint64 // by our own operations, how often
	strange map[types.ManagedObjectReference]bool   // VMs that are left alone, and were logged
	foreign map[types.ManagedObjectReference]error  // VMs whose records have another format
	unread  map[types.ManagedObjectReference]unreadVM
	looked  bool      // at the whole folder, once at least
	allGone time.Time // since when all VMs are gone at once; zero while they are not
	current bool      // the collector reports every change
	since   time.Time // current or not
}

// hooks are what an inventory needs of the hypervisor.
type hooks struct {
	// notify is called with a VM that has changed, and forget of an instance UUID that is gone.
	notify func(uid string)
	forget func(vm string)
	// named is the instance UUID that a pod's VM has.
	named func(uid string) string
}

func newInventory(session *Session, datacenter *object.Datacenter, folder types.ManagedObjectReference, hooks hooks) *inventory {
	return &inventory{
		session: session, client: session.client, datacenter: datacenter, folder: folder, hooks: hooks, since: time.Now(),
		unread: map[types.ManagedObjectReference]unreadVM{},
		vms:    map[types.ManagedObjectReference]ownedVM{}, touched: map[types.ManagedObjectReference]uint64{},
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
	shown := map[string]ownedVM{}
	for _, vm := range i.vms {
		if other, ok := shown[vm.uid()]; !ok || vm.before(other) {
			shown[vm.uid()] = vm
		}
	}
	vms := make([]portlayer.VM, 0, len(shown))
	for _, vm := range shown {
		vms = append(vms, vm.view())
	}
	return vms, nil
}

// find returns the VM of a pod. ErrNotFound; another error where there are several, of which none is to be chosen.
func (i *inventory) find(uid string) (ownedVM, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	var found []ownedVM
	for _, vm := range i.vms {
		if vm.uid() == uid {
			found = append(found, vm)
		}
	}
	switch len(found) {
	case 0:
		return ownedVM{}, portlayer.ErrNotFound
	case 1:
		return found[0], nil
	}
	return ownedVM{}, fmt.Errorf("the pod has %d VMs, %s and %s among them: keep one and remove the others in vSphere",
		len(found), found[0].ref.Value, found[1].ref.Value)
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

// named returns the VM with an instance UUID; false where there is none, or several.
func (i *inventory) named(uuid string) (found ownedVM, only bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, vm := range i.vms {
		if vm.uuid != uuid {
			continue
		}
		if only {
			return ownedVM{}, false
		}
		found, only = vm, true
	}
	return found, only
}

// put takes what one of our operations made of a VM. Its power is what was seen last, whatever it was when the operation
// began.
func (i *inventory) put(vm ownedVM) {
	i.mu.Lock()
	if was, ok := i.vms[vm.ref]; ok {
		vm.on, vm.bootedAt, vm.away, vm.outside = was.on, was.bootedAt, was.away, was.outside
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
