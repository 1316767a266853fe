package operations

import (
	"context"
	"errors"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// view is all that a decision is made from.
type view struct {
	desired
	vm       *podvm.VM // nil where the host knows none
	previous corev1.PodStatus
	ready    int // images that are here
}

// fingerprint changes with everything in a view that a step may bring about or wait for.
type fingerprint struct {
	state      portlayer.State
	version    uint64
	bootID     string
	generation uint64
	current    bool
	logs       bool
	revision   int
	ready      int
}

func (v *view) fingerprint() fingerprint {
	f := fingerprint{revision: v.revision, ready: v.ready}
	if v.vm != nil {
		f.state, f.version, f.current, f.logs = v.vm.State, v.vm.Version, v.vm.Current, v.vm.LogsComplete
		if g := v.vm.Guest; g != nil {
			f.bootID, f.generation = g.BootID, g.Generation
		}
	}
	return f
}

// state is StateRemoved also where the host knows no VM.
func (v *view) state() portlayer.State {
	if v.vm == nil {
		return portlayer.StateRemoved
	}
	return v.vm.State
}

func (v *view) running() bool { return v.state() == portlayer.StateRunning }

// guest is the snapshot of the boot that runs; nil where it is not known.
func (v *view) guest() *wire.Snapshot {
	if v.vm == nil || !v.running() || !v.vm.Current {
		return nil
	}
	return v.vm.Guest
}

// taken tells that the guest has the container as it is now, or that it will never run.
func (v *view) taken(m plan.Member) bool {
	g := v.guest()
	if g == nil {
		return false
	}
	c, ok := g.Container(m.Name)
	return ok && m.Taken(c)
}

// expired tells that the pod has been active for as long as it may, and has not ended before.
func (v *view) expired(former *wire.Snapshot) bool {
	deadline := plan.Deadline(v.pod, v.previous.StartTime)
	return !deadline.IsZero() && time.Until(deadline) <= 0 && !plan.Finished(former)
}

// untilDeadline is when the pod expires, at the latest when to look again anyway.
func (v *view) untilDeadline() time.Duration {
	deadline := plan.Deadline(v.pod, v.previous.StartTime)
	if left := time.Until(deadline); !deadline.IsZero() && left > 0 {
		return left + time.Millisecond
	}
	return lookAgain
}

// untilSilent is when a silent guest becomes an unreachable one.
func (v *view) untilSilent() time.Duration {
	if v.vm == nil || v.vm.SilentSince.IsZero() {
		return lookAgain
	}
	if left := time.Until(v.vm.SilentSince.Add(status.SilentAfter)); left > 0 {
		return left + time.Millisecond
	}
	return lookAgain
}

// look observes the VM and what is desired of it.
func (w *worker) look(ctx context.Context) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	v := &view{desired: w.desired()}
	vm, err := w.observer.Get(ctx, string(w.uid))
	switch {
	case err == nil:
		v.vm = &vm
	case !errors.Is(err, portlayer.ErrNotFound):
		return nil, err
	}
	v.previous = v.pod.Status
	if e, ok := w.cache.Get(w.uid); ok {
		v.previous = e.Pod.Status
	}
	for _, i := range w.waits {
		if img, _ := i.wait.State(); img != nil {
			v.ready++
		}
	}
	return v, nil
}

// noteUpdate sees what a new version of the pod changes.
func (w *worker) noteUpdate(v *view) {
	before := w.seen
	if !v.known || before == v.pod {
		return
	}
	w.seen = v.pod
	if before == nil {
		return
	}
	if v.pod.Generation != before.Generation {
		w.refused = nil
	}
	if !maps.Equal(before.Labels, v.pod.Labels) || !maps.Equal(before.Annotations, v.pod.Annotations) {
		w.boot.delivery.due = time.Now() // downward API files show them
	}
	if len(plan.FileVolumes(v.pod)) != len(plan.FileVolumes(before)) {
		w.boot.delivery.due = time.Now() // an ephemeral container mounts one more
	}
	images := map[string]string{}
	for _, m := range plan.Members(before) {
		images[m.Name] = m.Image
	}
	for _, m := range plan.Members(v.pod) {
		if images[m.Name] != m.Image {
			w.dropImage(m.Name)
			w.retries.Succeeded(stepRun + m.Name)
		}
	}
}

// noteEphemeral sees which ephemeral containers this host can't honour. Each is told once.
func (w *worker) noteEphemeral(v *view) {
	if !v.known || len(v.pod.Spec.EphemeralContainers) == 0 {
		return
	}
	for name, why := range w.creator.CheckEphemeral(v.pod) {
		if w.barred[name] == nil {
			w.events.Container(v.pod, name, events.Warning(reasonUnsupportedField, "Container is not started: %v", why))
		}
		w.barred[name] = why
	}
}

// mayRun tells that m is a container that can be run. An ephemeral one waits for a pod that runs.
func (w *worker) mayRun(v *view, m plan.Member) bool {
	return m.Role != wire.RoleEphemeral || w.barred[m.Name] == nil && v.guest() != nil
}

// noteRefusal sees what this host can't honour in a pod that has no VM. It is told once.
func (w *worker) noteRefusal(v *view) {
	if w.refused != nil || v.state() != portlayer.StateRemoved || !v.known || v.ending() || v.shutdown || final(v.previous.Phase) {
		return
	}
	if w.refused = w.creator.Check(v.pod); w.refused != nil {
		w.events.Pod(v.pod, events.Warning(reasonUnsupportedField, "Pod is not started: %v", w.refused))
	}
}

// noteBoot forgets what belonged to another boot.
func (w *worker) noteBoot(v *view) {
	g := v.guest()
	if v.vm != nil && v.vm.Guest != nil {
		w.vms.lastGuest = v.vm.Guest
	}
	if !v.running() {
		w.vms.configured = time.Time{}
	}
	if g == nil {
		return
	}
	if g.BootID != w.boot.id {
		w.boot = bootMemory{id: g.BootID, ran: map[string]string{}}
	}
	if g.Phase != wire.PhaseWaiting {
		w.vms.seeds = nil
	}
}

// noteEnd sees that a VM ended which should run: it is told, once, and a VM that does so again and again has to wait.
func (w *worker) noteEnd(v *view) {
	if v.running() || v.state() == portlayer.StateCreated || v.ending() || v.shutdown || !v.known || final(v.previous.Phase) {
		return
	}
	former := w.former(v)
	if former == nil || former.BootID == w.note.EndedBoot || former.Phase == wire.PhaseDone || former.Phase == wire.PhaseWaiting {
		return
	}
	w.vms.seeds = nil
	if former.StopReason == plan.StopReasonNodeShutdown {
		w.note.EndedBoot = former.BootID
		return
	}
	why := "it was powered off"
	switch {
	case v.vm != nil && v.vm.StopReason != "":
		why = v.vm.StopReason
	case v.state() == portlayer.StateRemoved:
		why = "it is gone"
	}
	w.events.Pod(v.pod, events.Warning(eventVMEnded, "Pod VM ended unexpectedly: %s", why))
	if v.vm != nil && former.Time.Sub(v.vm.StartedAt) > restartReset {
		w.note.Ends = 0
	}
	w.note.ended(former.BootID, time.Now())
}

// noteSilence tells once of each guest that became unreachable, with the end of its console: a kernel says there why.
func (w *worker) noteSilence(ctx context.Context, v *view) {
	if !v.running() || v.vm.SilentSince.IsZero() || time.Since(v.vm.SilentSince) < status.SilentAfter || v.vm.SilentSince.Equal(w.vms.silent) {
		return
	}
	w.vms.silent = v.vm.SilentSince
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	console, err := w.observer.Console(ctx, string(w.uid))
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "console could not be read", "err", err)
	}
	w.events.Pod(v.pod, events.Warning(eventUnreachable, "Guest has been silent since %s%s",
		v.vm.SilentSince.UTC().Format(time.RFC3339), consoleEnd(string(console))))
}

// former is the last snapshot of a VM that does not run.
func (w *worker) former(v *view) *wire.Snapshot {
	if v.vm != nil && v.vm.Guest != nil {
		return v.vm.Guest
	}
	return w.vms.lastGuest
}

// relayEvents tells the guest's events beside the pod and acknowledges them.
func (w *worker) relayEvents(ctx context.Context, v *view) {
	g := v.guest()
	if g == nil || len(g.Events) == 0 {
		return
	}
	last := g.Events[len(g.Events)-1].Seq
	for _, e := range g.Events {
		if e.Seq > w.boot.eventsSeq {
			w.events.Container(v.pod, e.Container, events.OfGuest(e))
		}
	}
	w.boot.eventsSeq = max(w.boot.eventsSeq, last)
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	if err := w.observer.AckEvents(ctx, string(w.uid), g.BootID, last); err != nil {
		logging.From(ctx).DebugContext(ctx, "events were not acknowledged", "err", err)
	}
}

func final(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }
