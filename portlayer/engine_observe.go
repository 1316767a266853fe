package portlayer

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer/guestlink"
	"github.com/virtual-kubelet/vic/portlayer/rundir"
)

// pod is what the engine knows of one pod VM. Only the engine's loop changes vm, there and link.
type pod struct {
	uid string
	dir *rundir.Dir

	saving sync.Mutex // held while one of the records is written, so that the latest one is written last

	mu    sync.Mutex // guards what follows
	vm    VM
	there bool // the hypervisor has it
	link  *guestlink.Link
	guest *wire.Snapshot // never changed, only replaced
	acked ackedEvents
	note  []byte // as guest
	// booted is when the boot began that this process commanded and whose guest has not greeted yet.
	booted time.Time
}

// ackedEvents says that events of a boot up to seq are dealt with.
type ackedEvents struct {
	BootID string `json:"bootID"`
	Seq    uint64 `json:"seq"`
}

// observeAll takes the hypervisor's list as it is.
func (e *Engine) observeAll(ctx context.Context, vms []VM) {
	seen := make(map[string]bool, len(vms))
	for _, vm := range vms {
		seen[vm.UID()] = true
		p, err := e.pod(vm.UID(), true)
		if err != nil {
			logging.From(ctx).WarnContext(ctx, "pod VM left alone", "err", err)
			continue
		}
		e.observe(logging.With(ctx, "podUID", p.uid), p, vm)
	}
	for _, p := range e.all() {
		if !seen[p.uid] {
			e.vanish(logging.With(ctx, "podUID", p.uid), p)
		}
	}
}

// observe takes the VM as it is, and keeps exactly one link with a guest that runs.
func (e *Engine) observe(ctx context.Context, p *pod, vm VM) {
	p.mu.Lock()
	before, was := p.vm, p.there
	p.vm, p.there = vm, true
	linked := p.link != nil
	p.mu.Unlock()

	sameBoot := was && before.State == StateRunning && vm.State == StateRunning && before.StartedAt.Equal(vm.StartedAt)
	sameSpec := was && before.Version == vm.Version
	if !sameSpec {
		e.seed(ctx, vm)
	}
	if !sameBoot && linked {
		p.unlink()
	}
	if e.ours(vm) {
		running := vm.State == StateRunning
		if running && (!sameBoot || !linked) {
			e.link(ctx, p)
		}
		p.dir.SetLive(running)
		if !sameSpec || before.State != vm.State {
			p.save(ctx)
		}
	}
	if !sameSpec || !sameBoot && (before.State != vm.State || !before.StartedAt.Equal(vm.StartedAt)) ||
		before.StopReason != vm.StopReason || before.PID != vm.PID {
		e.hub.tell(p.uid)
	}
}

// vanish notes that the hypervisor does not have the VM. What was kept of it stays until Forget.
func (e *Engine) vanish(ctx context.Context, p *pod) {
	p.mu.Lock()
	was := p.there
	if was && p.vm.State == StateRunning {
		p.vm.StopReason = "the VM is gone"
	}
	p.there, p.vm.State, p.vm.PID = false, StateRemoved, 0
	vm := p.vm
	p.mu.Unlock()
	if !was {
		return
	}
	p.unlink()
	for _, nic := range vm.Spec.NICs {
		if s, ok := e.scopes[nic.Scope]; ok {
			s.release(nic.Address.Addr(), p.uid)
		}
	}
	if e.ours(vm) {
		p.dir.SetLive(false)
		p.save(ctx)
	} else {
		e.drop(p.uid)
	}
	e.hub.tell(p.uid)
}

// seed takes the leases that a VM carries.
func (e *Engine) seed(ctx context.Context, vm VM) {
	for _, nic := range vm.Spec.NICs {
		s, ok := e.scopes[nic.Scope]
		if !ok || !s.seed(nic.Address.Addr(), vm.UID()) {
			logging.From(ctx).WarnContext(ctx, "pod VM carries an address that its scope cannot lease",
				"scope", nic.Scope, "address", nic.Address.String())
		}
	}
}

func (e *Engine) ours(vm VM) bool {
	return e.config.NodeName == "" || vm.Spec.Identity.NodeName == e.config.NodeName
}

// link opens the link with the guest of a running VM.
func (e *Engine) link(ctx context.Context, p *pod) {
	p.mu.Lock()
	known := p.guest
	p.mu.Unlock()
	link := guestlink.Open(ctx, guestlink.Config{
		Dial:       func(ctx context.Context) (io.ReadWriteCloser, error) { return e.config.Hypervisor.Dial(ctx, p.uid) },
		Expect:     p.expect,
		Known:      known,
		Logs:       p.dir,
		Patience:   e.config.Patience,
		Metrics:    e.links,
		OnSnapshot: func(s *wire.Snapshot) { e.takeSnapshot(ctx, p, s) },
		OnChange:   func() { e.hub.tell(p.uid) },
	})
	p.mu.Lock()
	p.link = link
	p.mu.Unlock()
}

// takeSnapshot keeps a newer snapshot. That of a boot in which no pod was configured says nothing about containers, so
// the one of the boot before stays: what happened in it is needed to configure this one.
func (e *Engine) takeSnapshot(ctx context.Context, p *pod, s *wire.Snapshot) {
	p.mu.Lock()
	p.booted = time.Time{}
	if s.Phase == wire.PhaseWaiting && p.guest != nil && p.guest.BootID != s.BootID {
		p.mu.Unlock()
		return
	}
	p.guest = p.acked.strip(s)
	p.mu.Unlock()
	p.saveGuest(ctx)
	e.hub.tell(p.uid)
}

// strip returns s without the events that are dealt with.
func (a ackedEvents) strip(s *wire.Snapshot) *wire.Snapshot {
	if a.BootID != s.BootID {
		return s
	}
	c := *s
	c.Events = slices.DeleteFunc(slices.Clone(s.Events), func(e wire.Event) bool { return e.Seq <= a.Seq })
	return &c
}

// unlink closes the link, where there is one, and waits for its end.
func (p *pod) unlink() {
	p.mu.Lock()
	link := p.link
	p.link = nil
	p.mu.Unlock()
	if link != nil {
		link.Close()
	}
}

// expect is what the guest may report.
func (p *pod) expect() guestlink.Expect {
	p.mu.Lock()
	defer p.mu.Unlock()
	var addresses []netip.Addr
	for _, nic := range p.vm.Spec.NICs {
		addresses = append(addresses, nic.Address.Addr())
	}
	return guestlink.Expect{Containers: p.vm.Spec.Tasks, Addresses: addresses}
}

// load reads what a former process kept. What can't be read keeps nothing else from being read.
func (p *pod) load() error {
	var vm VM
	vmErr := p.dir.LoadVM(&vm)
	if vmErr == nil && vm.UID() == p.uid {
		vm.State, vm.PID = StateRemoved, 0
		p.vm = vm
	}
	ackedErr := p.dir.LoadAcked(&p.acked)
	note, noteErr := p.dir.LoadNote()
	p.note = note
	guest, guestErr := p.dir.LoadSnapshot()
	if guestErr == nil {
		p.guest = p.acked.strip(guest)
	}
	var damaged error
	for _, err := range []error{vmErr, ackedErr, noteErr, guestErr} {
		if !errors.Is(err, rundir.ErrNotFound) {
			damaged = errors.Join(damaged, err)
		}
	}
	return damaged
}

// save writes the VM as it was last seen; it is what Get answers when the VM is gone.
func (p *pod) save(ctx context.Context) {
	p.mu.Lock()
	vm := p.vm
	p.mu.Unlock()
	if err := p.dir.SaveVM(vm); err != nil {
		logging.From(ctx).WarnContext(ctx, "record of the pod VM not kept", "err", err)
	}
}

func (p *pod) saveGuest(ctx context.Context) {
	p.saving.Lock()
	defer p.saving.Unlock()
	p.mu.Lock()
	guest := p.guest
	p.mu.Unlock()
	if err := p.dir.SaveSnapshot(guest); err != nil {
		logging.From(ctx).WarnContext(ctx, "snapshot of the guest not kept", "err", err)
	}
}

func (p *pod) saveAcked(ctx context.Context) {
	p.saving.Lock()
	defer p.saving.Unlock()
	p.mu.Lock()
	acked := p.acked
	p.mu.Unlock()
	if err := p.dir.SaveAcked(acked); err != nil {
		logging.From(ctx).WarnContext(ctx, "acknowledgement of events not kept", "err", err)
	}
}

// view is the pod VM as callers see it.
func (p *pod) view() PodVM {
	p.mu.Lock()
	v := PodVM{VM: p.vm, Guest: p.guest, Note: p.note}
	link := p.link
	v.Booting = v.State == StateRunning && !p.booted.IsZero() && p.booted.Equal(v.StartedAt)
	p.mu.Unlock()
	v.Spec = v.Spec.Clone()
	if link != nil {
		bootID, _ := link.Greeted()
		v.Greeted = bootID != ""
		v.Booting = v.Booting && !v.Greeted
		v.Current = v.Guest != nil && v.Guest.BootID == bootID
		v.SilentSince = link.SilentSince()
	}
	v.LogsComplete = v.Guest != nil && p.logsComplete(v.Guest)
	return v
}

// logsComplete tells whether the logs of all attempts that nothing follows are here.
func (p *pod) logsComplete(s *wire.Snapshot) bool {
	for _, c := range s.Containers {
		t := c.Current
		if t == nil {
			t = c.Last
		}
		if c.Final && t != nil && !p.logWhole(c.Name, t) {
			return false
		}
	}
	return true
}

func (p *pod) logWhole(container string, t *wire.Terminated) bool {
	return p.dir.LogFinished(container, t.Attempt) || p.dir.LogEnd(container, t.Attempt) >= t.LogBytes
}
