package worker

import (
	"bytes"
	"maps"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/fields"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/portlayer"
)

// after returns the memory after a look, and what to do at once since the look before. It changes neither m nor v.
func (m memory) after(v *view) (memory, []effect) {
	f := &fold{v: v, m: m}
	f.recall()
	f.update()
	f.refuse()
	f.bar()
	f.release()
	f.followBoot()
	f.followEnd()
	f.keepRecord()
	f.followSilence()
	f.relayEvents()
	return f.m, f.effects
}

// fold makes one memory of another and a view.
type fold struct {
	v       *view
	m       memory
	effects []effect
}

func (f *fold) do(e effect) { f.effects = append(f.effects, e) }

func (f *fold) emit(container string, n events.Notice) { f.do(emit{container, n}) }

// recall takes up, once, what a former run of the program kept.
func (f *fold) recall() {
	if !f.m.recalled && f.v.vm != nil {
		f.m.record, f.m.recalled = readRecord(f.v.vm.Record), true
	}
}

// update sees what a new version of the pod changes.
func (f *fold) update() {
	before, now := f.m.pod, f.v.pod
	if !f.v.known || before == now {
		return
	}
	f.m.pod = now
	if before == nil {
		return
	}
	if now.Generation != before.Generation {
		f.m.refused = nil
	}
	// Downward API files show labels and annotations, and an ephemeral container mounts one volume more.
	if !maps.Equal(before.Labels, now.Labels) || !maps.Equal(before.Annotations, now.Annotations) ||
		len(plan.FileVolumes(now)) != len(plan.FileVolumes(before)) {
		f.m.boot.delivery.Due = f.v.now
	}
	former := map[string]string{}
	for _, m := range plan.Members(before) {
		former[m.Name] = m.Image
	}
	for _, m := range plan.Members(now) {
		if former[m.Name] != m.Image {
			f.do(dropImage{m.Name})
			f.do(tryNow{partRun + m.Name})
		}
	}
}

// refuse sees, once, what this host can't honour in a pod that has no VM.
func (f *fold) refuse() {
	if f.m.refused != nil || f.v.state() != portlayer.StateRemoved || !f.v.known || f.v.Turned() || final(f.v.status.Phase) {
		return
	}
	if refusals := fields.Check(f.v.pod, f.v.host); len(refusals) > 0 {
		f.m.refused = &fields.UnsupportedError{Refusals: refusals}
		f.emit("", events.Warning(fields.Reason, "Pod is not started: %v", f.m.refused))
	}
}

// bar sees, each once, which ephemeral containers this host can't honour.
func (f *fold) bar() {
	if !f.v.known || len(f.v.pod.Spec.EphemeralContainers) == 0 {
		return
	}
	barred := map[string]error{}
	maps.Copy(barred, f.m.barred)
	for name, refusals := range fields.CheckEphemeral(f.v.pod, f.v.host) {
		why := &fields.UnsupportedError{Refusals: refusals}
		if f.m.barred[name] == nil {
			f.emit(name, events.Warning(fields.Reason, "Container is not started: %v", why))
		}
		barred[name] = why
	}
	f.m.barred = barred
}

// release has a pod that waits for a disk try again when another has given one back.
func (f *fold) release() {
	if f.v.releases != f.m.releases {
		f.m.releases = f.v.releases
		f.do(tryNow{stepVolumes})
	}
}

// followBoot forgets what belonged to another boot.
func (f *fold) followBoot() {
	if f.v.vm != nil && f.v.vm.Guest != nil {
		f.m.guest = f.v.vm.Guest
	}
	if !f.v.running() {
		f.m.configured = time.Time{}
	}
	g := f.v.guest()
	if g == nil {
		return
	}
	if g.BootID != f.m.boot.id {
		f.m.boot = boot{id: g.BootID}
	}
	if g.Phase != wire.PhaseWaiting {
		f.m.seeds = nil
	}
}

// followEnd sees, once, that a VM ended which should run. One that does so again and again has to wait.
func (f *fold) followEnd() {
	if f.v.running() || f.v.state() == portlayer.StateCreated || f.v.Turned() || !f.v.known || final(f.v.status.Phase) {
		return
	}
	g := f.m.guest
	if g == nil || g.BootID == f.m.record.EndedBoot || g.Phase == wire.PhaseDone || g.Phase == wire.PhaseWaiting {
		return
	}
	f.m.seeds = nil
	if g.StopReason == plan.StopReasonNodeShutdown {
		f.m.record.EndedBoot = g.BootID
		return
	}
	why := "it was powered off"
	switch {
	case f.v.vm != nil && f.v.vm.StopReason != "":
		why = f.v.vm.StopReason
	case f.v.state() == portlayer.StateRemoved:
		why = "it is gone"
	}
	f.emit("", events.Warning(eventVMEnded, "Pod VM ended unexpectedly: %s", why))
	if f.v.vm != nil && g.Time.Sub(f.v.vm.StartedAt) > restartReset {
		f.m.record.Ends = 0
	}
	f.m.record.ended(g.BootID, f.v.now)
}

// keepRecord has the host keep the record where it does not yet.
func (f *fold) keepRecord() {
	f.m.record.Gone = f.m.record.Gone || f.v.gone
	if f.v.known && !f.v.gone {
		f.m.record.OrphanSince, f.m.record.OrphanHeld = time.Time{}, false
	}
	if f.v.vm == nil || f.m.record == (record{}) && len(f.v.vm.Record) == 0 {
		return
	}
	if text := f.m.record.text(); text != nil && !bytes.Equal(text, f.v.vm.Record) {
		f.do(keep{f.m.record})
	}
}

// followSilence sees each guest that became unreachable, once.
func (f *fold) followSilence() {
	if since := f.v.silence(); !since.IsZero() && !since.Equal(f.m.silence) {
		f.m.silence = since
		f.do(reportSilence{since})
	}
}

// relayEvents shows the guest's events beside the pod, and lets the guest forget them.
func (f *fold) relayEvents() {
	g := f.v.guest()
	if g == nil || len(g.Events) == 0 {
		return
	}
	for _, e := range g.Events {
		if e.Seq > f.m.boot.events {
			f.emit(e.Container, events.OfGuest(e))
		}
	}
	last := g.Events[len(g.Events)-1].Seq
	f.m.boot.events = max(f.m.boot.events, last)
	f.do(acknowledge{g.BootID, last})
}
