package podvm

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
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm/guestlink"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

// pod is what the host knows of one pod VM. Only Observe and Vanish change vm, there and link.
type pod struct {
	id  string
	dir *rundir.Dir

	saving sync.Mutex // held while one of the records is written, so that the latest one is written last

	mu     sync.Mutex // guards what follows
	vm     portlayer.VM
	there  bool // the hypervisor has it
	link   *guestlink.Link
	guest  *wire.Snapshot // never changed, only replaced
	acked  ackedEvents
	record []byte // as guest
	// booted is when the boot began that this process commanded and whose guest has not greeted yet.
	booted time.Time
}

// ackedEvents says that events of a boot up to seq are dealt with.
type ackedEvents struct {
	BootID string `json:"bootID"`
	Seq    uint64 `json:"seq"`
}

// Observe implements portlayer.Observer: it takes the VM as it is, and keeps exactly one link with a guest that runs.
func (h *Host) Observe(ctx context.Context, vm portlayer.VM) {
	if vm.Spec.Owner.Kind != Kind {
		return
	}
	p, err := h.pod(vm.ID(), true)
	if err != nil {
		logging.From(ctx).WarnContext(ctx, "pod VM left alone", "err", err)
		return
	}
	p.mu.Lock()
	before, was := p.vm, p.there
	p.vm, p.there = vm, true
	linked := p.link != nil
	p.mu.Unlock()

	sameBoot := was && before.State == portlayer.StateRunning && vm.State == portlayer.StateRunning &&
		before.StartedAt.Equal(vm.StartedAt)
	sameSpec := was && before.Version == vm.Version
	if !sameBoot && linked {
		p.unlink()
	}
	if !was {
		h.logForeign(ctx, vm)
	}
	if h.ours(vm) {
		running := vm.State == portlayer.StateRunning
		if running && vm.Spec.Boot.HasGuest() && (!sameBoot || !linked) {
			h.link(ctx, p)
		}
		p.dir.SetLive(running)
		if !sameSpec || before.State != vm.State {
			p.save(ctx)
		}
	}
	if !sameSpec || !sameBoot && (before.State != vm.State || !before.StartedAt.Equal(vm.StartedAt)) ||
		before.StopReason != vm.StopReason || before.PID != vm.PID {
		h.hub.Notify(p.id)
	}
}

// Vanish implements portlayer.Observer. What was kept of the VM stays until Forget.
func (h *Host) Vanish(ctx context.Context, gone portlayer.VM) {
	p, err := h.pod(gone.ID(), false)
	if err != nil || p == nil {
		return
	}
	p.mu.Lock()
	was := p.there
	if was && p.vm.State == portlayer.StateRunning {
		p.vm.StopReason = "the VM is gone"
	}
	p.there, p.vm.State, p.vm.PID = false, portlayer.StateRemoved, 0
	vm := p.vm
	p.mu.Unlock()
	if !was {
		return
	}
	p.unlink()
	if h.ours(vm) {
		p.dir.SetLive(false)
		p.save(ctx)
	} else {
		h.drop(p.id)
	}
	h.hub.Notify(p.id)
}

func (h *Host) ours(vm portlayer.VM) bool {
	return h.config.NodeName == "" || vm.Spec.Owner.IsOf(h.config.Cluster, h.config.NodeName)
}

// logForeign warns of a VM that is not this host's though its node is called as ours: two clusters share a place.
func (h *Host) logForeign(ctx context.Context, vm portlayer.VM) {
	if o := vm.Spec.Owner; !h.ours(vm) && o.Node == h.config.NodeName {
		logging.From(ctx).WarnContext(ctx, "pod VM of another cluster is left alone", "vm", vm.ID(), "cluster", o.Cluster,
			"pod", o.Namespace+"/"+o.Name)
	}
}

// link opens the link with the guest of a running VM.
func (h *Host) link(ctx context.Context, p *pod) {
	p.mu.Lock()
	known := p.guest
	p.mu.Unlock()
	link := guestlink.Open(ctx, guestlink.Config{
		Dial:       func(ctx context.Context) (io.ReadWriteCloser, error) { return h.layer.Dial(ctx, p.id) },
		Expect:     p.expect,
		Known:      known,
		Logs:       p.dir,
		Patience:   h.config.Patience,
		Metrics:    h.links,
		OnSnapshot: func(s *wire.Snapshot) { h.takeSnapshot(ctx, p, s) },
		OnChange:   func() { h.hub.Notify(p.id) },
	})
	p.mu.Lock()
	p.link = link
	p.mu.Unlock()
}

// takeSnapshot keeps a newer snapshot. That of a boot in which no pod was configured says nothing about containers, so
// the one of the boot before stays: what happened in it is needed to configure this one.
func (h *Host) takeSnapshot(ctx context.Context, p *pod, s *wire.Snapshot) {
	p.mu.Lock()
	p.booted = time.Time{}
	if s.Phase == wire.PhaseWaiting && p.guest != nil && p.guest.BootID != s.BootID {
		p.mu.Unlock()
		return
	}
	p.guest = p.acked.strip(s)
	p.mu.Unlock()
	p.saveGuest(ctx)
	h.hub.Notify(p.id)
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
		for _, a := range nic.Addresses {
			addresses = append(addresses, a.Addr())
		}
	}
	return guestlink.Expect{Containers: Containers(p.vm.Spec), Addresses: addresses}
}

// load reads what a former process kept, and returns the VM as that saw it last. What can't be read keeps nothing else from
// being read.
func (p *pod) load() (last portlayer.VM, damaged error) {
	last.State = portlayer.StateRemoved
	var vm portlayer.VM
	vmErr := p.dir.LoadVM(&vm)
	if vmErr == nil && vm.ID() == p.id {
		last = vm
		vm.State, vm.PID = portlayer.StateRemoved, 0
		p.vm = vm
	}
	ackedErr := p.dir.LoadAcked(&p.acked)
	record, recordErr := p.dir.LoadRecord()
	p.record = record
	guest, guestErr := p.dir.LoadSnapshot()
	if guestErr == nil {
		p.guest = p.acked.strip(guest)
	}
	for _, err := range []error{vmErr, ackedErr, recordErr, guestErr} {
		if !errors.Is(err, rundir.ErrNotFound) {
			damaged = errors.Join(damaged, err)
		}
	}
	return last, damaged
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
func (p *pod) view() VM {
	p.mu.Lock()
	v := VM{VM: p.vm, Guest: p.guest, Record: p.record}
	link := p.link
	v.Booting = v.State == portlayer.StateRunning && !p.booted.IsZero() && p.booted.Equal(v.StartedAt)
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

// logsComplete reports whether the logs of all attempts that nothing follows are here.
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
