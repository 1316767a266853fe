package operations

import (
	"context"
	"errors"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
)

// Names of steps; stepRun is followed by the container's name and is retried on its own.
const (
	stepCreate     = "create"
	stepVolumes    = "volumes"
	stepPowerOn    = "powerOn"
	stepGreet      = "greet"
	stepConfigure  = "configure"
	stepContainers = "containers"
	stepFiles      = "files"
	stepRun        = "run/"
	stepStop       = "stop"
	stepRelease    = "release"
	stepRemove     = "remove"
	stepForget     = "forget"
)

// nothing is the step of a worker that waits for a change.
var nothing = step{}

// decide returns the step that is next, and when to look again where there is none.
func (w *worker) decide(ctx context.Context, v *view) (step, time.Duration) {
	switch {
	case v.ending():
		w.dropImages()
		return w.tearDown(v)
	case v.shutdown:
		w.dropImages()
		if v.running() {
			return w.stop(v, StopRequest{Grace: specGrace(v), Reason: plan.StopReasonNodeShutdown, LogsWithin: logsWithin}), lookAgain
		}
		return nothing, lookAgain
	case !v.known:
		return nothing, lookAgain
	case final(v.previous.Phase), w.rejected != nil:
		w.dropImages()
		return w.settle(v), lookAgain
	case v.expired(w.former(v)):
		w.dropImages()
		return w.expire(v), lookAgain
	}
	return w.build(ctx, v)
}

// tearDown ends a pod for good.
func (w *worker) tearDown(v *view) (step, time.Duration) {
	switch v.state() {
	case portlayer.StateRunning:
		return w.stop(v, StopRequest{Grace: deletionGrace(v), LogsWithin: logsWithin}), lookAgain
	case portlayer.StateCreated, portlayer.StateStopped:
		return w.removeStep(v), lookAgain
	case portlayer.StateRemoved:
	}
	if !v.gone {
		w.cache.Finish(w.uid)
		return nothing, lookAgain
	}
	return step{name: stepForget, timeout: removeTimeout, run: func(ctx context.Context) outcome {
		if err := w.deleter.Forget(ctx, string(w.uid)); err != nil {
			return outcome{err: err}
		}
		return outcome{then: func() {
			w.cache.Remove(w.uid)
			w.ended = true
		}}
	}}, lookAgain
}

// settle leaves nothing running of a pod whose phase is final, and keeps what can still be asked of it.
func (w *worker) settle(v *view) step {
	switch v.state() {
	case portlayer.StateRunning:
		return w.stop(v, StopRequest{Grace: specGrace(v)})
	case portlayer.StateCreated:
		return w.removeStep(v)
	case portlayer.StateStopped:
		if len(v.vm.Spec.Volumes()) > 0 {
			return w.release()
		}
	case portlayer.StateRemoved:
	}
	return nothing
}

// expire ends a pod whose deadline has passed. It is final when nothing of it runs.
func (w *worker) expire(v *view) step {
	switch v.state() {
	case portlayer.StateRunning:
		return w.stop(v, StopRequest{Grace: specGrace(v), Reason: wire.StopReasonDeadline})
	case portlayer.StateCreated:
		return w.removeStep(v)
	case portlayer.StateStopped, portlayer.StateRemoved:
	}
	return nothing
}

// build brings a pod that is to run one step nearer to it.
func (w *worker) build(ctx context.Context, v *view) (step, time.Duration) {
	switch v.state() {
	case portlayer.StateRunning:
		return w.buildGuest(ctx, v)
	case portlayer.StateCreated:
	default:
		if former := w.former(v); plan.Finished(former) || w.allFinal(v, former) {
			return nothing, lookAgain
		}
	}
	if v.state() == portlayer.StateRemoved && w.refused != nil {
		return nothing, lookAgain
	}
	w.wantImages(ctx, v)
	if wait := time.Until(w.note.RestartAt); wait > 0 {
		return nothing, wait
	}
	if v.state() == portlayer.StateRemoved {
		return step{name: stepCreate, build: true, timeout: createTimeout, run: func(ctx context.Context) outcome {
			return w.admitted(v, w.creator.Create(ctx, v.pod))
		}}, lookAgain
	}
	images, all := w.images(v)
	if !w.hotAdd && !all {
		return nothing, lookAgain
	}
	if !w.attached(v) {
		return w.attach(v), lookAgain
	}
	return w.powerOn(v, images), lookAgain
}

// buildGuest goes on with a VM that runs.
func (w *worker) buildGuest(ctx context.Context, v *view) (step, time.Duration) {
	g := v.guest()
	if g == nil && !w.unconfigured(v) {
		return w.greet(v), lookAgain
	}
	if g == nil || g.Phase == wire.PhaseWaiting {
		w.wantImages(ctx, v)
		if left := time.Until(w.vms.configured.Add(snapshotWithin)); left > 0 {
			return nothing, left
		}
		if !w.attached(v) {
			return w.attach(v), lookAgain
		}
		boot := Boot{Seeds: w.seedsOf(v, w.former(v)), StartTime: v.previous.StartTime, Disks: w.vms.disks}
		return step{name: stepConfigure, build: true, timeout: configureTimeout, run: func(ctx context.Context) outcome {
			if err := w.starter.Configure(ctx, v.pod, *v.vm, boot); err != nil {
				return outcome{err: err}
			}
			return outcome{then: func() { w.vms.configured = time.Now() }}
		}}, lookAgain
	}
	if g.Phase == wire.PhaseConfigured {
		w.wantImages(ctx, v)
		return w.containers(v, g)
	}
	req := StopRequest{Grace: specGrace(v), Reason: g.StopReason}
	if g.StopReason == plan.StopReasonNodeShutdown {
		req.LogsWithin = logsWithin
	}
	return w.stop(v, req), lookAgain
}

// greet waits for the guest of a VM that runs already, such as one that this program finds at its start.
func (w *worker) greet(v *view) step {
	return step{name: stepGreet, build: true, quiet: true, timeout: bootTimeout, run: w.start(v, nil)}
}

func (w *worker) powerOn(v *view, images []persona.Image) step {
	return step{name: stepPowerOn, build: true, timeout: bootTimeout, run: w.start(v, images)}
}

// start powers on, waits for the guest, and notes which boot it was that greeted.
func (w *worker) start(v *view, images []persona.Image) func(context.Context) outcome {
	return func(ctx context.Context) outcome {
		if err := w.starter.PowerOn(ctx, *v.vm, images); err != nil {
			return w.admitted(v, err)
		}
		vm, err := w.observer.Get(ctx, string(w.uid))
		return outcome{err: err, then: func() { w.vms.greeted = vm.StartedAt }}
	}
}

// unconfigured tells that the guest of this boot has greeted and has no plan. The host keeps the last snapshot of the boot
// before until then, so that it is not lost.
func (w *worker) unconfigured(v *view) bool {
	return v.running() && !v.vm.Current && !w.vms.greeted.IsZero() && w.vms.greeted.Equal(v.vm.StartedAt)
}

// containers keeps the volumes current and runs the containers that the guest does not have and whose images are here.
func (w *worker) containers(v *view, g *wire.Snapshot) (step, time.Duration) {
	wait := lookAgain
	var runs []ContainerRun
	for _, m := range plan.Members(v.pod) {
		if v.taken(m) || w.boot.ran[m.Name] == m.Revision() || !w.mayRun(v, m) {
			continue
		}
		img := w.image(m.Name)
		if img == nil {
			continue
		}
		if left := w.retries.Wait(stepRun + m.Name); left > 0 {
			wait = min(wait, left)
			continue
		}
		runs = append(runs, ContainerRun{Member: m, Image: *img})
	}
	deliver := false
	if len(plan.FileVolumes(v.pod)) > 0 {
		left := max(time.Until(w.boot.delivery.Due(g.BootID)), w.retries.Wait(stepFiles))
		deliver, wait = left <= 0, min(wait, max(left, time.Millisecond))
	}
	if !deliver && (len(runs) == 0 || !w.boot.delivery.Complete(v.pod, g.BootID)) {
		return nothing, wait
	}
	return step{
		name: stepContainers, build: true, quiet: true, timeout: containersTimeout,
		run: w.containersStep(v, runs, deliver),
	}, lookAgain
}

// stop asks the stopper for what is next. A request that differs from the one before begins with what that has achieved.
func (w *worker) stop(v *view, req StopRequest) step {
	req.Idle = w.unconfigured(v)
	if w.boot.stopping == nil {
		w.boot.stopping = &Stopping{}
	}
	progress := w.boot.stopping
	return step{name: stepStop, quiet: true, timeout: stopCallTimeout + powerOffTimeout + moment, run: func(ctx context.Context) outcome {
		again, err := w.stopper.Stop(ctx, *v.vm, req, progress)
		return outcome{err: err, again: again}
	}}
}

func (w *worker) removeStep(v *view) step {
	return step{name: stepRemove, timeout: removeTimeout, run: func(ctx context.Context) outcome {
		err := w.deleter.Remove(ctx, string(w.uid))
		return outcome{err: err, then: func() {
			if err == nil && len(v.vm.Spec.Volumes()) > 0 {
				w.freed()
			}
		}}
	}}
}

// admitted rejects, as a kubelet does, a pod that never ran and that the node has not what it needs for. One that ran
// before waits.
func (w *worker) admitted(v *view, err error) outcome {
	_, refused := errors.AsType[*RejectionError](err)
	if !refused && !errors.Is(err, portlayer.ErrOutOfMemory) || everRan(v.previous) {
		return outcome{err: err}
	}
	return outcome{then: func() {
		w.admission.Leave(w.uid)
		w.rejected = err
		reason, message := rejection(err)
		w.events.Pod(v.pod, events.Warning(reason, "%s", message))
	}}
}

// seedsOf returns what the next boot begins with, the same until it is configured.
func (w *worker) seedsOf(v *view, former *wire.Snapshot) []wire.Seed {
	if w.vms.seeds == nil {
		w.vms.seeds = plan.Seeds(v.pod, former, v.previous)
	}
	return w.vms.seeds
}

// allFinal tells that no container would run in another boot.
func (w *worker) allFinal(v *view, former *wire.Snapshot) bool {
	seeds := w.seedsOf(v, former)
	for _, s := range seeds {
		if !s.Final {
			return false
		}
	}
	return len(seeds) > 0
}

// specGrace is how long the containers of the pod may take to end.
func specGrace(v *view) time.Duration {
	if s := v.pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return defaultGrace
}

// deletionGrace is specGrace, or what the deletion says instead.
func deletionGrace(v *view) time.Duration {
	grace := specGrace(v)
	if s := v.pod.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	if v.gone {
		grace = min(grace, forcedGrace)
	}
	return max(grace, time.Second)
}

// everRan tells that a container of the pod was started at some time.
func everRan(s corev1.PodStatus) bool {
	for _, c := range slices.Concat(s.InitContainerStatuses, s.ContainerStatuses) {
		if c.RestartCount > 0 || c.ContainerID != "" || c.State.Running != nil || c.State.Terminated != nil {
			return true
		}
	}
	return false
}
