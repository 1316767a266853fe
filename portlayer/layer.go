package portlayer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/virtual-kubelet/vic/internal/changes"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/turns"
)

const (
	// relistEvery is how often VMs are listed without any sign of a change.
	relistEvery = 30 * time.Second
	// commitSlots is more than there are commits at one time; the caller that takes all of them is alone.
	commitSlots = 1 << 30
)

// Config sets a Layer up.
type Config struct {
	Hypervisor Hypervisor
	// Scopes are the networks that VMs may join.
	Scopes []ScopeConfig
	// Metrics shows the hypervisor's calls; nil is nowhere.
	Metrics prometheus.Registerer
}

// Layer is a hypervisor with drafts, leases of addresses, and a list that is kept current: all that pods, machines and
// others need of VMs alike. It is safe for concurrent use.
type Layer struct {
	hypervisor *observed
	scopes     map[string]*Scope

	hub     changes.Hub
	turns   turns.Turns         // of VMs, by ID
	commits *semaphore.Weighted // one slot a commit, so that disks are collected while there is none
	relists chan chan<- error   // requests for a relist; each is answered once
	cancel  context.CancelFunc
	done    chan struct{} // closed when run has ended

	observing sync.Mutex // held while observers are called and vms changes, so that they see changes in order

	mu        sync.Mutex // guards what follows
	vms       map[string]VM
	committed map[string]uint64 // commits to each VM so far
	observers map[*observerEntry]struct{}
}

// An Observer sees each VM of a Layer as it is listed, one call at a time. It must not call the Layer's methods that
// change VMs. ctx carries a logger that names the VM.
type Observer interface {
	// Observe is called for each VM of each list.
	Observe(ctx context.Context, vm VM)
	// Vanish is called once for a VM that a list has no more; vm is as it was last seen.
	Vanish(ctx context.Context, vm VM)
}

// observerEntry is one registration of an Observer.
type observerEntry struct{ Observer }

// Open finds the VMs that are there and takes the leases that they carry. It returns the hypervisor's error where that
// can't list its VMs. ctx carries the logger; the Layer ends with Close.
func Open(ctx context.Context, cfg Config) (*Layer, error) {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &Layer{
		hypervisor: observe(cfg.Hypervisor, cfg.Metrics),
		scopes:     map[string]*Scope{},
		commits:    semaphore.NewWeighted(commitSlots),
		relists:    make(chan chan<- error),
		cancel:     cancel,
		done:       make(chan struct{}),
		vms:        map[string]VM{},
		committed:  map[string]uint64{},
		observers:  map[*observerEntry]struct{}{},
	}
	for _, c := range cfg.Scopes {
		s, err := NewScope(c)
		if err != nil {
			cancel()
			return nil, err
		}
		l.scopes[c.Name] = s
	}
	watch := cfg.Hypervisor.Watch(life) // before the list, so that nothing falls in between
	if err := l.relist(ctx); err != nil {
		cancel()
		return nil, err
	}
	// Ends at Close.
	go func() {
		defer close(l.done)
		l.run(life, watch)
	}()
	return l, nil
}

// Close ends everything that the Layer does and keeps every VM as it is.
func (l *Layer) Close() {
	l.cancel()
	<-l.done
}

// Follow shows o every VM that is there, and then each that is listed, until the returned function is called.
func (l *Layer) Follow(ctx context.Context, o Observer) (stop func()) {
	l.observing.Lock()
	defer l.observing.Unlock()
	for _, vm := range l.List() {
		o.Observe(logging.With(ctx, "vm", vm.ID()), vm)
	}
	entry := &observerEntry{o}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.observers[entry] = struct{}{}
	return func() {
		l.observing.Lock()
		defer l.observing.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.observers, entry)
	}
}

// Get returns a VM as it was last listed; false where there is none.
func (l *Layer) Get(id string) (VM, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	vm, ok := l.vms[id]
	vm.Spec = vm.Spec.Clone()
	return vm, ok
}

// List returns all VMs as they were last listed.
func (l *Layer) List() []VM {
	l.mu.Lock()
	defer l.mu.Unlock()
	vms := make([]VM, 0, len(l.vms))
	for _, vm := range l.vms {
		vm.Spec = vm.Spec.Clone()
		vms = append(vms, vm)
	}
	return vms
}

// Recall has the hypervisor look for VMs that it did not list and that a former process knew, and lists anew. It does nothing where
// the hypervisor is no Recaller.
func (l *Layer) Recall(ctx context.Context, known []VM) error {
	recaller, ok := RoleOf[Recaller](l.Hypervisor())
	missing := slices.DeleteFunc(slices.Clone(known), func(vm VM) bool {
		_, listed := l.Get(vm.ID())
		return listed || vm.Ref == ""
	})
	if !ok || len(missing) == 0 {
		return nil
	}
	if err := recaller.Recall(ctx, missing); err != nil {
		return err
	}
	return l.Refresh(ctx)
}

// Watch sends the ID of each VM that may have changed, each once however often it changed before it was read, until ctx
// ends; then it closes the channel.
func (l *Layer) Watch(ctx context.Context) <-chan string { return l.hub.Watch(ctx) }

// Capacity returns what the VCH offers.
func (l *Layer) Capacity(ctx context.Context) (Capacity, error) { return l.hypervisor.Capacity(ctx) }

// Dial opens the byte channel to the guest of a running VM (Dialer). ErrUnsupported where the hypervisor has none.
func (l *Layer) Dial(ctx context.Context, id string) (io.ReadWriteCloser, error) {
	return l.hypervisor.Dial(ctx, id)
}

// Console returns the end of a VM's console (ConsoleReader). ErrUnsupported where the hypervisor has none.
func (l *Layer) Console(ctx context.Context, id string) ([]byte, error) {
	return l.hypervisor.Console(ctx, id)
}

// Hypervisor is what runs the VMs, to be asked for its roles (RoleOf).
func (l *Layer) Hypervisor() Hypervisor { return l.hypervisor.Hypervisor }

// run lists the VMs whenever there may be news, until ctx ends.
func (l *Layer) run(ctx context.Context, watch <-chan string) {
	tick := time.NewTicker(relistEvery)
	defer tick.Stop()
	for {
		var waiting []chan<- error
		select {
		case _, ok := <-watch:
			if !ok {
				watch = nil
			}
		case w := <-l.relists:
			waiting = append(waiting, w)
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		waiting = l.drain(watch, waiting)
		err := l.relist(ctx)
		for _, w := range waiting {
			w <- err
		}
	}
}

// drain takes everything that one relist answers.
func (l *Layer) drain(watch <-chan string, waiting []chan<- error) []chan<- error {
	for {
		select {
		case _, ok := <-watch:
			if !ok {
				return waiting
			}
		case w := <-l.relists:
			waiting = append(waiting, w)
		default:
			return waiting
		}
	}
}

func (l *Layer) relist(ctx context.Context) error {
	vms, err := l.hypervisor.List(ctx)
	if err != nil {
		if ctx.Err() == nil {
			logging.From(ctx).WarnContext(ctx, "VMs not listed", "err", err)
		}
		return fmt.Errorf("list VMs: %w", err)
	}
	l.take(ctx, vms)
	return nil
}

// Refresh returns when the VMs have been listed by a call that began after Refresh did.
func (l *Layer) Refresh(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case l.relists <- answer:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return errClosed
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return errClosed
	}
}

var errClosed = errors.New("port layer is closed")

// take takes the hypervisor's list as it is, and shows it to the observers.
func (l *Layer) take(ctx context.Context, vms []VM) {
	l.observing.Lock()
	defer l.observing.Unlock()
	listed := make(map[string]bool, len(vms))
	for _, vm := range vms {
		listed[vm.ID()] = true
		l.takeOne(logging.With(ctx, "vm", vm.ID()), vm)
	}
	for _, vm := range l.missing(listed) {
		l.lose(logging.With(ctx, "vm", vm.ID()), vm)
	}
}

// missing returns the VMs that a list does not have any more.
func (l *Layer) missing(listed map[string]bool) []VM {
	l.mu.Lock()
	defer l.mu.Unlock()
	var gone []VM
	for id, vm := range l.vms {
		if !listed[id] {
			gone = append(gone, vm)
		}
	}
	return gone
}

func (l *Layer) takeOne(ctx context.Context, vm VM) {
	l.mu.Lock()
	before, was := l.vms[vm.ID()]
	l.vms[vm.ID()] = vm
	l.mu.Unlock()
	if !was || before.Version != vm.Version {
		l.lease(ctx, vm)
	}
	for _, o := range l.followers() {
		o.Observe(ctx, vm)
	}
	if !was || before.Version != vm.Version || before.State != vm.State || !before.StartedAt.Equal(vm.StartedAt) ||
		before.StopReason != vm.StopReason || before.PID != vm.PID {
		l.hub.Notify(vm.ID())
	}
}

// lose takes that the hypervisor does not have a VM any more.
func (l *Layer) lose(ctx context.Context, vm VM) {
	l.mu.Lock()
	delete(l.vms, vm.ID())
	delete(l.committed, vm.ID())
	l.mu.Unlock()
	for _, nic := range vm.Spec.NICs {
		l.release(nic, vm.ID())
	}
	for _, o := range l.followers() {
		o.Vanish(ctx, vm)
	}
	l.hub.Notify(vm.ID())
}

func (l *Layer) followers() []Observer {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Observer, 0, len(l.observers))
	for e := range l.observers {
		all = append(all, e.Observer)
	}
	return all
}

// lease takes the addresses that a VM carries.
func (l *Layer) lease(ctx context.Context, vm VM) {
	for _, nic := range vm.Spec.NICs {
		s, ok := l.scopes[nic.Scope]
		for _, a := range nic.Addresses {
			if !ok || !s.seed(a.Addr(), vm.ID()) {
				logging.From(ctx).WarnContext(ctx, "VM carries an address that its scope cannot lease",
					"scope", nic.Scope, "address", a.String())
			}
		}
	}
}

func (l *Layer) release(nic NIC, id string) {
	if s, ok := l.scopes[nic.Scope]; ok {
		for _, a := range nic.Addresses {
			s.release(a.Addr(), id)
		}
	}
}

// carries is true when the VM has that address, whoever gave it.
func (l *Layer) carries(id string, addr netip.Addr) bool {
	vm, ok := l.Get(id)
	if !ok {
		return false
	}
	for _, nic := range vm.Spec.NICs {
		if nic.Has(addr) {
			return true
		}
	}
	return false
}
