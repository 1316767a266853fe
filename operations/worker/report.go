package worker

import (
	"errors"
	"fmt"

	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/fields"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/persona"
)

// report publishes the pod's status, which v has from then on.
func (w *Worker) report(v *view) {
	if v.known {
		w.start.begin(v)
		s := status.Build(statusOf(v, w.memory, w.HostIP()))
		if s.Reason == status.ReasonDeadlineExceeded && !final(v.status.Phase) {
			w.Events.Pod(v.pod, events.Normal(s.Reason, "%s", s.Message))
		}
		w.Cache.SetStatus(w.uid, s)
		v.status = s
	}
	w.start.reported(v.status)
	if v.ending() {
		w.start.end(errNotStarted)
	}
	if final(v.status.Phase) || v.ending() && !v.running() {
		w.Admission.Leave(w.uid)
	}
}

// statusOf returns all that the pod's status is made from.
func statusOf(v *view, m memory, hostIP string) status.Inputs {
	in := status.Inputs{
		Pod: v.pod, VM: v.vm, Waiting: waiting(v, m), Images: imageRefs(v),
		HostIP: hostIP, Now: v.now, Previous: v.status, Terminating: v.ending(),
	}
	if m.rejected != nil {
		reason, message := rejection(m.rejected)
		in.PodReason, in.PodMessage = reason, "Pod was rejected: "+message
	}
	return in
}

// waiting says of each container that the guest does not have why it doesn't.
func waiting(v *view, m memory) map[string]status.Waiting {
	all := map[string]status.Waiting{}
	if final(v.status.Phase) || m.rejected != nil || v.ending() {
		return all
	}
	for _, c := range plan.Members(v.pod) {
		if v.taken(c) {
			continue
		}
		if why := waitingOf(v, m, c.Name); why.Reason != "" {
			all[c.Name] = why
		}
	}
	return all
}

// waitingOf returns what holds a container up, what its user can mend first.
func waitingOf(v *view, m memory, container string) status.Waiting {
	if m.refused != nil {
		return status.Waiting{Reason: fields.Reason, Message: m.refused.Error()}
	}
	if why := m.barred[container]; why != nil {
		return status.Waiting{Reason: fields.Reason, Message: why.Error()}
	}
	if try, failed := v.failures[partRun+container]; failed {
		return waitingFor(reasonCreateContainerError, try.Err)
	}
	if v.until(m.record.RestartAt) > 0 && !v.running() {
		return status.Waiting{
			Reason:  reasonCrashLoopBackOff,
			Message: fmt.Sprintf("back-off restarting pod VM of %s/%s(%s)", v.pod.Namespace, v.pod.Name, v.pod.UID),
		}
	}
	if try, failed := v.failures[stepVolumes]; failed {
		return status.Waiting{Reason: reasonContainerCreating, Message: try.Err.Error()}
	}
	for _, name := range []string{stepCreate, stepPowerOn, stepConfigure} {
		if try, failed := v.failures[name]; failed {
			return status.Waiting{Reason: reasonCreatePodSandboxError, Message: try.Err.Error()}
		}
	}
	if i := v.images[container]; i.here == nil && i.waiting.Reason != "" {
		return i.waiting
	}
	if try, failed := v.failures[partFiles]; failed {
		return status.Waiting{Reason: reasonContainerCreating, Message: try.Err.Error()}
	}
	return status.Waiting{}
}

// imageRefs names the images that are here. Of a container that the guest had before this program started there is none,
// and its status keeps what it says.
func imageRefs(v *view) map[string]status.ImageRef {
	refs := map[string]status.ImageRef{}
	for name, i := range v.images {
		if i.here == nil {
			continue
		}
		full, err := persona.NormalizeName(i.ref)
		if err != nil {
			full = i.ref // an image's ID
		}
		refs[name] = status.ImageRef{Name: full, ID: images.ID(*i.here)}
	}
	return refs
}

// failed returns the event of a step that failed.
func failed(step string, err error) []effect {
	switch step {
	case stepCreate, stepPowerOn, stepConfigure:
		return []effect{emit{"", events.Warning(eventFailedCreate, "%v%s", err, consoleOf(err))}}
	case stepVolumes:
		reason := eventFailedAttach
		if mount, ok := errors.AsType[*volumes.MountError](err); ok {
			reason = mount.Reason
		}
		return []effect{emit{"", events.Warning(reason, "%v", err)}}
	case stepStop, stepRemove:
		return []effect{emit{"", events.Warning(eventFailedKill, "%v", err)}}
	}
	return nil
}
