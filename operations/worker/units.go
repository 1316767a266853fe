package worker

import (
	"context"
	"errors"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/steps"
)

// Units do the steps. Each may be called twice for one thing, and only workers call them.
type Units struct {
	Creator Creator
	Volumes Volumes
	Starter Starter
	Files   Files
	Stopper Stopper
	Deleter Deleter
}

// Creator makes VMs.
type Creator interface {
	// Create returns a *RejectionError for a pod that the node has not what it needs for.
	Create(ctx context.Context, pod *corev1.Pod) error
}

// Volumes attaches the disks of claims, and takes them back.
type Volumes interface {
	Attach(ctx context.Context, pod *corev1.Pod, vm *podvm.VM) (Attached, error)
	Release(ctx context.Context, uid string) error
}

// Attached are the disks of a pod's claims, by the names of its volumes, that its VM has.
type Attached struct {
	Disks map[string]plan.Disk
	// New are the persistent volumes that it did not have before.
	New []string
}

// Starter brings a VM from off to containers that run.
type Starter interface {
	PowerOn(ctx context.Context, vm podvm.VM, images []persona.Image) error
	Configure(ctx context.Context, pod *corev1.Pod, vm podvm.VM, boot Boot) error
	Run(ctx context.Context, pod *corev1.Pod, vm podvm.VM, run ContainerRun) error
}

// Files delivers volumes that the host fills. What was achieved is in the Delivery, also beside an error.
type Files interface {
	Deliver(ctx context.Context, pod *corev1.Pod, vm podvm.VM, now Delivery) (Delivery, error)
}

// Stopper ends pods. It returns how long there is something to wait for at most, and keeps in p how far it is.
type Stopper interface {
	Stop(ctx context.Context, vm podvm.VM, req StopRequest, p *Stopping) (again time.Duration, err error)
}

// Deleter removes VMs, and what is kept of them.
type Deleter interface {
	Remove(ctx context.Context, uid string) error
	Forget(ctx context.Context, uid string) error
}

// stepOf returns how a step is done.
func (w *Worker) stepOf(v *view, s step) steps.Step {
	next := steps.Step{Name: s.name, Span: w.start.span()}
	switch s.name {
	case stepCreate:
		next.Builds, next.Timeout, next.Do = true, createTimeout, w.create(v)
	case stepVolumes:
		next.Builds, next.Timeout, next.Do = true, volumesTimeout, w.attach(v)
	case stepPowerOn:
		next.Builds, next.Timeout, next.Do = true, bootTimeout, w.powerOn(v, s.images)
	case stepGreet:
		next.Builds, next.Timeout, next.Do = true, bootTimeout, w.powerOn(v, nil)
		next.Quiet = true
	case stepConfigure:
		next.Builds, next.Timeout, next.Do = true, configureTimeout, w.configure(v, s.boot)
	case stepContainers:
		next.Builds, next.Timeout, next.Do = true, containersTimeout, w.containers(v, s)
		next.Quiet = true
	case stepStop:
		next.Timeout, next.Do = stopTimeout, w.stop(v, s.stop)
		next.Quiet = true
	case stepRelease:
		next.Timeout, next.Do = volumesTimeout, w.release
	case stepRemove:
		next.Timeout, next.Do = removeTimeout, w.remove(v)
	case stepForget:
		next.Timeout, next.Do = removeTimeout, w.forget
		next.Last = true
	}
	return next
}

type work = func(context.Context) steps.Outcome

func (w *Worker) create(v *view) work {
	return func(ctx context.Context) steps.Outcome {
		return w.admitted(v, w.Creator.Create(ctx, v.pod))
	}
}

// admitted rejects, as a kubelet does, a pod that never ran and that the node has not what it needs for. One that ran
// before waits.
func (w *Worker) admitted(v *view, err error) steps.Outcome {
	_, rejected := errors.AsType[*RejectionError](err)
	if !rejected && !errors.Is(err, portlayer.ErrOutOfMemory) || EverRan(v.status) {
		return steps.Outcome{Err: err}
	}
	return steps.Outcome{Then: func() {
		w.Admission.Leave(w.uid)
		w.memory.rejected = err
		reason, message := rejection(err)
		w.Events.Pod(v.pod, events.Warning(reason, "%s", message))
	}}
}

func (w *Worker) attach(v *view) work {
	return func(ctx context.Context) steps.Outcome {
		attached, err := w.Volumes.Attach(ctx, v.pod, v.vm)
		if err != nil {
			return steps.Outcome{Err: err}
		}
		return steps.Outcome{Then: func() {
			w.memory.disks = attached.Disks
			for _, name := range attached.New {
				w.Events.Pod(v.pod, events.Normal(eventAttached, "AttachVolume.Attach succeeded for volume %q", name))
			}
		}}
	}
}

// powerOn powers on, waits for the guest, and remembers which boot it was that greeted.
func (w *Worker) powerOn(v *view, images []persona.Image) work {
	return func(ctx context.Context) steps.Outcome {
		if err := w.Starter.PowerOn(ctx, *v.vm, images); err != nil {
			return w.admitted(v, err)
		}
		vm, err := w.Host.Get(ctx, string(w.uid))
		return steps.Outcome{Err: err, Then: func() { w.memory.greeted = vm.StartedAt }}
	}
}

func (w *Worker) configure(v *view, boot Boot) work {
	return func(ctx context.Context) steps.Outcome {
		if err := w.Starter.Configure(ctx, v.pod, *v.vm, boot); err != nil {
			return steps.Outcome{Err: err}
		}
		return steps.Outcome{Then: func() { w.memory.configured = time.Now() }}
	}
}

// containers delivers the volumes and then runs containers. Each part is retried by itself, so the step does not fail.
func (w *Worker) containers(v *view, s step) work {
	delivery, bootID := w.memory.boot.delivery, v.vm.Guest.BootID
	return func(ctx context.Context) steps.Outcome {
		var filesErr error
		if s.deliver {
			delivery, filesErr = w.Files.Deliver(ctx, v.pod, *v.vm, delivery)
		}
		ran := map[string]error{}
		if delivery.Complete(v.pod, bootID) {
			for _, run := range s.runs {
				ran[run.Name] = w.Starter.Run(ctx, v.pod, *v.vm, run)
			}
		}
		cancelled := ctx.Err() != nil
		return steps.Outcome{Then: func() {
			if w.memory.boot.id != bootID {
				return
			}
			w.memory.boot.delivery = delivery
			if !cancelled {
				w.delivered(v.pod, s.deliver, filesErr)
				w.ran(v.pod, s.runs, ran)
			}
		}}
	}
}

// delivered takes how the delivery of the pod's volumes went.
func (w *Worker) delivered(pod *corev1.Pod, tried bool, err error) {
	switch {
	case err != nil:
		w.loop.Retries().Failed(partFiles, err)
		w.Events.Pod(pod, events.Warning(eventFailedMount, "%v", err))
	case tried:
		w.loop.Retries().Succeeded(partFiles)
	}
}

// ran takes how the start of each container went.
func (w *Worker) ran(pod *corev1.Pod, runs []ContainerRun, ended map[string]error) {
	taken := map[string]string{}
	maps.Copy(taken, w.memory.boot.taken)
	for _, run := range runs {
		err, tried := ended[run.Name]
		switch {
		case !tried:
		case err == nil:
			w.loop.Retries().Succeeded(partRun + run.Name)
			taken[run.Name] = run.Revision()
		default:
			w.loop.Retries().Failed(partRun+run.Name, err)
			w.Events.Container(pod, run.Name, events.Warning(eventFailed, "Error: %s", waitingFor(reasonCreateContainerError, err).Message))
		}
	}
	w.memory.boot.taken = taken
}

func (w *Worker) stop(v *view, req StopRequest) work {
	progress, bootID := w.memory.boot.stopping, w.memory.boot.id
	return func(ctx context.Context) steps.Outcome {
		again, err := w.Stopper.Stop(ctx, *v.vm, req, &progress)
		return steps.Outcome{Err: err, Again: again, Then: func() {
			if w.memory.boot.id == bootID {
				w.memory.boot.stopping = progress
			}
		}}
	}
}

func (w *Worker) release(ctx context.Context) steps.Outcome {
	if err := w.Volumes.Release(ctx, string(w.uid)); err != nil {
		return steps.Outcome{Err: err}
	}
	return steps.Outcome{Then: func() {
		w.memory.disks = nil
		w.Released()
	}}
}

func (w *Worker) remove(v *view) work {
	return func(ctx context.Context) steps.Outcome {
		err := w.Deleter.Remove(ctx, string(w.uid))
		return steps.Outcome{Err: err, Then: func() {
			if err == nil && v.hasVolumes() {
				w.Released()
			}
		}}
	}
}

func (w *Worker) forget(ctx context.Context) steps.Outcome {
	if err := w.Deleter.Forget(ctx, string(w.uid)); err != nil {
		return steps.Outcome{Err: err}
	}
	return steps.Outcome{Then: func() { w.Cache.Remove(w.uid) }}
}
