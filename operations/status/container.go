package status

import (
	"cmp"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/portlayer"
)

// messageNeverSeen is the kubelet's, of a container without a known end in a pod that was terminated.
const messageNeverSeen = "The container could not be located when the pod was terminated"

// exitCodeUnknown is the exit code of a container whose own was never seen.
const exitCodeUnknown = 137

func (b *builder) containers() []corev1.ContainerStatus {
	b.again = map[string]bool{}
	all := make([]corev1.ContainerStatus, 0, len(b.Pod.Spec.Containers))
	for i := range b.Pod.Spec.Containers {
		all = append(all, b.container(&b.Pod.Spec.Containers[i]))
	}
	return all
}

func (b *builder) container(c *corev1.Container) corev1.ContainerStatus {
	before := find(b.old.ContainerStatuses, c.Name)
	seen := b.observe(c.Name, before)
	s := corev1.ContainerStatus{
		Name:                 c.Name,
		Image:                cmp.Or(b.Images[c.Name].Name, before.Image, c.Image),
		ImageID:              cmp.Or(b.Images[c.Name].ID, before.ImageID),
		ContainerID:          cmp.Or(seen.containerID(), before.ContainerID),
		State:                seen.state,
		LastTerminationState: corev1.ContainerState{Terminated: seen.last},
		RestartCount:         max(seen.restarts, before.RestartCount),
	}
	if b.Terminating && b.ended() && s.State.Terminated == nil {
		s.State = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
			Reason: plan.ReasonContainerStatusUnknown, Message: messageNeverSeen, ExitCode: exitCodeUnknown,
		}}
	}
	running := s.State.Running != nil
	s.Ready, s.Started = running, &running
	return s
}

// seen is what is observed of one container.
type seen struct {
	state    corev1.ContainerState
	last     *corev1.ContainerStateTerminated
	id       string // of the container that runs
	restarts int32
}

// containerID is that of the latest attempt.
func (s seen) containerID() string {
	switch {
	case s.id != "":
		return plan.ContainerIDPrefix + s.id
	case s.state.Terminated != nil:
		return s.state.Terminated.ContainerID
	case s.last != nil:
		return s.last.ContainerID
	}
	return ""
}

func (b *builder) observe(name string, before corev1.ContainerStatus) seen {
	if b.guest != nil {
		if c, ok := b.guest.Container(name); ok {
			if b.live {
				return b.fromGuest(c)
			}
			return b.fromFormer(c, before)
		}
	}
	return b.fromStatus(before)
}

// fromGuest is for a guest that runs now.
func (b *builder) fromGuest(c wire.ContainerStatus) seen {
	switch {
	case c.State == wire.ContainerRunning:
		return seen{
			state:    corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: seconds(c.StartedAt)}},
			last:     terminated(c.Last),
			id:       c.ID,
			restarts: c.RestartCount,
		}
	case c.State == wire.ContainerTerminated && c.Current != nil:
		return b.finished(c, c.Current, c.Last)
	case c.Final && c.Last != nil: // it ended for good before this boot
		return b.finished(c, c.Last, nil)
	}
	why := Waiting{c.Reason, c.Message}
	if w, ok := b.Waiting[c.Name]; ok && !c.Known {
		why = w
	}
	return waiting(why, c)
}

// finished is for a container whose latest attempt ended like end.
func (b *builder) finished(c wire.ContainerStatus, end, last *wire.Terminated) seen {
	b.again[c.Name] = plan.RunsAgain(b.Pod.Spec.RestartPolicy, b.guest, c, end)
	if last != nil && last.ID == end.ID {
		last = nil
	}
	return seen{
		state:    corev1.ContainerState{Terminated: terminated(end)},
		last:     terminated(last),
		restarts: end.Attempt,
	}
}

// fromFormer is for the last word of a guest that runs no more. What ran then has ended with its VM; once its successor
// is on the way it waits to be started again.
func (b *builder) fromFormer(c wire.ContainerStatus, before corev1.ContainerStatus) seen {
	end, last := c.Current, c.Last
	if c.State == wire.ContainerRunning {
		end = b.vanished(c, before)
	}
	if end == nil && c.Final {
		end, last = c.Last, nil
	}
	if end == nil {
		why, ok := b.Waiting[c.Name]
		if !ok && c.Known {
			why = Waiting{c.Reason, c.Message}
		}
		return waiting(why, c)
	}
	s := b.finished(c, end, last)
	if b.again[c.Name] && b.startsAnew(c.Name) {
		s.last = s.state.Terminated
		s.state = waitingState(b.Waiting[c.Name])
	}
	return s
}

// startsAnew tells that the next boot is on the way.
func (b *builder) startsAnew(name string) bool {
	if b.Terminating {
		return false
	}
	_, explained := b.Waiting[name]
	return explained || b.powered() || (b.VM != nil && b.VM.State == portlayer.StateCreated)
}

// vanished is the end of c together with its VM. It is told once: what was reported of it stays.
func (b *builder) vanished(c wire.ContainerStatus, before corev1.ContainerStatus) *wire.Terminated {
	end := plan.Vanished(c, b.Now, b.whyGone())
	for _, t := range []*corev1.ContainerStateTerminated{before.State.Terminated, before.LastTerminationState.Terminated} {
		if t != nil && t.ContainerID == plan.ContainerIDPrefix+c.ID {
			end.Message, end.FinishedAt = t.Message, t.FinishedAt.Time
		}
	}
	return end
}

func (b *builder) whyGone() string {
	const gone = "the pod's VM ended while the container was running"
	if b.VM != nil && b.VM.StopReason != "" {
		return gone + ": " + b.VM.StopReason
	}
	return gone
}

// fromStatus is for a container that no guest knows: what was reported of it stands, less that it runs where there is no
// VM, or one whose guest was told of no container yet.
func (b *builder) fromStatus(before corev1.ContainerStatus) seen {
	s := seen{
		state:    before.State,
		last:     before.LastTerminationState.Terminated,
		restarts: before.RestartCount,
	}
	if running := before.State.Running; running != nil {
		s.id = strings.TrimPrefix(before.ContainerID, plan.ContainerIDPrefix)
		if b.powered() && b.guest == nil {
			return s
		}
		end := plan.Vanished(wire.ContainerStatus{
			ID: s.id, StartedAt: running.StartedAt.Time,
		}, b.Now, b.whyGone())
		s.state = corev1.ContainerState{Terminated: terminated(end)}
	}
	if s.state.Terminated == nil {
		s.state = waitingState(b.Waiting[before.Name])
		return s
	}
	b.again[before.Name] = plan.ShouldRestart(b.Pod.Spec.RestartPolicy, &wire.Terminated{ExitCode: s.state.Terminated.ExitCode})
	if b.again[before.Name] && b.startsAnew(before.Name) {
		s.last, s.state = s.state.Terminated, waitingState(b.Waiting[before.Name])
	}
	return s
}

// waiting is for a container that does not run now and will. Its restart count is that of its latest attempt.
func waiting(why Waiting, c wire.ContainerStatus) seen {
	s := seen{state: waitingState(why), last: terminated(c.Last), restarts: c.RestartCount}
	if c.Last != nil {
		s.restarts = c.Last.Attempt
	}
	return s
}

func waitingState(why Waiting) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{
		Reason: cmp.Or(why.Reason, wire.ReasonContainerCreating), Message: why.Message,
	}}
}

func terminated(t *wire.Terminated) *corev1.ContainerStateTerminated {
	if t == nil {
		return nil
	}
	s := &corev1.ContainerStateTerminated{
		ExitCode:   t.ExitCode,
		Signal:     t.Signal,
		Reason:     t.Reason,
		Message:    t.Message,
		StartedAt:  seconds(t.StartedAt),
		FinishedAt: seconds(t.FinishedAt),
	}
	if t.ID != "" {
		s.ContainerID = plan.ContainerIDPrefix + t.ID
	}
	return s
}

func find(all []corev1.ContainerStatus, name string) corev1.ContainerStatus {
	for i := range all {
		if all[i].Name == name {
			return *all[i].DeepCopy()
		}
	}
	return corev1.ContainerStatus{Name: name}
}
