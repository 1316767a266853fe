package operations

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/fields"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/persona"
)

const (
	reasonUnsupportedField = fields.Reason
	// reasonOutOfMemory is the kubelet's, spelled as it spells it.
	reasonOutOfMemory = "OutOfmemory"
)

// report publishes the pod's status and returns it.
func (w *worker) report(v *view) corev1.PodStatus {
	if !v.known {
		return v.previous
	}
	in := status.Inputs{
		Pod: v.pod, VM: v.vm, Waiting: w.waiting(v), Images: w.imageRefs(),
		HostIP: w.node().HostIP, Now: time.Now(), Previous: v.previous, Terminating: v.ending(),
	}
	w.rejectedStatus(&in)
	s := status.Build(in)
	if s.Reason == status.ReasonDeadlineExceeded && !final(v.previous.Phase) {
		w.events.Pod(v.pod, events.Normal(s.Reason, "%s", s.Message))
	}
	w.cache.SetStatus(w.uid, s)
	return s
}

// waiting says of each container that the guest does not have why it doesn't.
func (w *worker) waiting(v *view) map[string]status.Waiting {
	all := map[string]status.Waiting{}
	if final(v.previous.Phase) || w.rejected != nil || v.ending() {
		return all
	}
	for _, m := range plan.Members(v.pod) {
		if v.taken(m) {
			continue
		}
		if reason := w.waitingOf(v, m.Name); reason.Reason != "" {
			all[m.Name] = reason
		}
	}
	return all
}

func (w *worker) waitingOf(v *view, container string) status.Waiting {
	if w.refused != nil {
		return status.Waiting{Reason: reasonUnsupportedField, Message: w.refused.Error()}
	}
	if why := w.barred[container]; why != nil {
		return status.Waiting{Reason: reasonUnsupportedField, Message: why.Error()}
	}
	if err := w.retries.Err(stepRun + container); err != nil {
		return waitingFor(reasonCreateContainerError, err)
	}
	if left := time.Until(w.note.RestartAt); left > 0 && !v.running() {
		return status.Waiting{Reason: reasonCrashLoopBackOff, Message: fmt.Sprintf("back-off restarting pod VM of %s/%s(%s)", v.pod.Namespace, v.pod.Name, v.pod.UID)}
	}
	if err := w.retries.Err(stepVolumes); err != nil {
		return status.Waiting{Reason: reasonContainerCreating, Message: err.Error()}
	}
	for _, name := range []string{stepCreate, stepPowerOn, stepConfigure} {
		if err := w.retries.Err(name); err != nil {
			return status.Waiting{Reason: reasonCreatePodSandboxError, Message: err.Error()}
		}
	}
	if i, ok := w.waits[container]; ok {
		if img, waiting := i.wait.State(); img == nil && waiting.Reason != "" {
			return waiting
		}
	}
	if err := w.retries.Err(stepFiles); err != nil {
		return status.Waiting{Reason: reasonContainerCreating, Message: err.Error()}
	}
	return status.Waiting{}
}

// imageRefs names the images that are here. Of a container that the guest had before this program started there is none,
// and its status keeps what it says.
func (w *worker) imageRefs() map[string]status.ImageRef {
	refs := map[string]status.ImageRef{}
	for name, i := range w.waits {
		if img, _ := i.wait.State(); img != nil {
			full, err := persona.NormalizeName(i.ref)
			if err != nil {
				full = i.ref // an image's ID
			}
			refs[name] = status.ImageRef{Name: full, ID: images.ID(*img)}
		}
	}
	return refs
}

// tellFailure tells users of a step that failed.
func (w *worker) tellFailure(r result) {
	pod := w.desired().pod
	switch r.step.name {
	case stepCreate, stepPowerOn, stepConfigure:
		w.events.Pod(pod, events.Warning(eventFailedCreate, "%v%s", r.err, consoleOf(r.err)))
	case stepVolumes:
		w.tellVolumes(pod, r.err)
	case stepStop, stepRemove:
		w.events.Pod(pod, events.Warning(eventFailedKill, "%v", r.err))
	}
}

// containersStep returns the work of a containers step.
func (w *worker) containersStep(v *view, runs []ContainerRun, deliver bool) func(context.Context) outcome {
	delivery := w.boot.delivery
	bootID := v.vm.Guest.BootID
	return func(ctx context.Context) outcome {
		var filesErr error
		if deliver {
			node := w.node()
			delivery, filesErr = w.files.Deliver(ctx, v.pod, *v.vm, delivery, volumes.Inputs{
				PodIP: addressOf(v.vm), HostIP: node.HostIP, NodeAllocatable: node.Allocatable,
			})
		}
		ran := map[string]error{}
		if delivery.Complete(v.pod, bootID) {
			for _, run := range runs {
				ran[run.Name] = w.starter.Run(ctx, v.pod, *v.vm, run)
			}
		}
		cancelled := ctx.Err() != nil
		return outcome{then: func() {
			if w.boot.id != bootID {
				return
			}
			w.boot.delivery = delivery
			if !cancelled {
				w.noteFiles(v.pod, deliver, filesErr)
				w.noteRuns(v.pod, runs, ran)
			}
		}}
	}
}

// noteFiles keeps how the delivery of the pod's volumes went.
func (w *worker) noteFiles(pod *corev1.Pod, delivered bool, err error) {
	switch {
	case err != nil:
		w.retries.Failed(stepFiles, err)
		w.events.Pod(pod, events.Warning(eventFailedMount, "MountVolume.SetUp failed: %v", err))
	case delivered:
		w.retries.Succeeded(stepFiles)
	}
}

// noteRuns keeps how the start of each container went.
func (w *worker) noteRuns(pod *corev1.Pod, runs []ContainerRun, ran map[string]error) {
	for _, run := range runs {
		name := run.Name
		err, tried := ran[name]
		if !tried {
			continue
		}
		if err == nil {
			w.retries.Succeeded(stepRun + name)
			w.boot.ran[name] = run.Revision()
			continue
		}
		w.retries.Failed(stepRun+name, err)
		w.events.Container(pod, name, events.Warning(eventFailed, "Error: %s", waitingFor(reasonCreateContainerError, err).Message))
	}
}
