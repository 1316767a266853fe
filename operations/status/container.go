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

// containers adds the statuses of all containers to s.
func (b *builder) containers(s *corev1.PodStatus) {
	b.again, b.roles = map[string]bool{}, map[string]wire.Role{}
	s.InitContainerStatuses, s.EphemeralContainerStatuses = nil, nil
	s.ContainerStatuses = make([]corev1.ContainerStatus, 0, len(b.Pod.Spec.Containers))
	for _, m := range plan.Members(b.Pod) {
		b.roles[m.Name] = m.Role
		switch m.Role {
		case wire.RoleInit, wire.RoleSidecar:
			s.InitContainerStatuses = append(s.InitContainerStatuses, b.container(m, find(b.old.InitContainerStatuses, m.Name)))
		case wire.RoleApp:
			s.ContainerStatuses = append(s.ContainerStatuses, b.container(m, find(b.old.ContainerStatuses, m.Name)))
		case wire.RoleEphemeral:
			s.EphemeralContainerStatuses = append(s.EphemeralContainerStatuses,
				b.container(m, find(b.old.EphemeralContainerStatuses, m.Name)))
		}
	}
}

func (b *builder) container(m plan.Member, before corev1.ContainerStatus) corev1.ContainerStatus {
	seen := b.hold(m, b.observe(m, before), before)
	s := corev1.ContainerStatus{
		Name:                 m.Name,
		Image:                cmp.Or(b.Images[m.Name].Name, before.Image, m.Image),
		ImageID:              cmp.Or(b.Images[m.Name].ID, before.ImageID),
		ContainerID:          cmp.Or(seen.containerID(), before.ContainerID),
		State:                seen.state,
		LastTerminationState: corev1.ContainerState{Terminated: seen.last},
		RestartCount:         max(seen.restarts, before.RestartCount),
	}
	running, end := s.State.Running != nil, s.State.Terminated
	switch m.Role {
	case wire.RoleEphemeral:
		return s // a kubelet never says of one that it is ready
	case wire.RoleInit:
		s.Ready = end != nil && end.ExitCode == 0
	case wire.RoleApp, wire.RoleSidecar:
		s.Ready = running && seen.ready
	}
	s.Started = new(running && seen.started)
	s.AllocatedResources, s.Resources = resources(m, before, s.ContainerID)
	return s
}

// resources are those of the spec with which the container was made: what runs is not resized.
func resources(m plan.Member, before corev1.ContainerStatus, id string) (corev1.ResourceList, *corev1.ResourceRequirements) {
	if before.Resources != nil && id != "" && id == before.ContainerID {
		return before.AllocatedResources, before.Resources
	}
	if len(m.Resources.Limits)+len(m.Resources.Requests) == 0 {
		return nil, nil
	}
	r := m.Resources.DeepCopy()
	return r.Requests, &corev1.ResourceRequirements{Limits: r.Limits, Requests: r.Requests}
}

// seen is what is observed of one container.
type seen struct {
	state    corev1.ContainerState
	last     *corev1.ContainerStateTerminated
	id       string // of the container that runs
	restarts int32
	// started and ready are the probes' word on what runs.
	started, ready bool
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

func (b *builder) observe(m plan.Member, before corev1.ContainerStatus) seen {
	if b.guest != nil {
		if c, ok := b.guest.Container(m.Name); ok {
			if b.live {
				return b.fromGuest(m, c, before)
			}
			return b.fromFormer(m, c, before)
		}
	}
	return b.fromStatus(m, before)
}

// fromGuest is for a guest that runs now.
func (b *builder) fromGuest(m plan.Member, c wire.ContainerStatus, before corev1.ContainerStatus) seen {
	switch {
	case c.State == wire.ContainerRunning:
		return seen{
			state:    corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: seconds(c.StartedAt)}},
			last:     terminated(c.Last),
			id:       c.ID,
			restarts: c.RestartCount,
			started:  c.Started,
			ready:    c.Ready,
		}
	case c.State == wire.ContainerTerminated && c.Current != nil:
		return b.finished(m, c.Current, c.Last)
	case c.Final && c.Last != nil: // it ended for good before this boot
		return b.finished(m, c.Last, nil)
	case c.Known && c.Last != nil && c.Reason == wire.ReasonContainerCreating:
		return b.restarting(m, c.Last, before)
	}
	why := Waiting{c.Reason, c.Message}
	if w, ok := b.Waiting[c.Name]; ok && !c.Known {
		why = w
	}
	return b.waiting(why, c)
}

// restarting is for a container that ended and is being started again at this moment: as a kubelet shows it, it has ended
// until it runs.
func (b *builder) restarting(m plan.Member, end *wire.Terminated, before corev1.ContainerStatus) seen {
	s := b.finished(m, end, nil)
	if s.state.Terminated == nil {
		return s
	}
	if last := before.LastTerminationState.Terminated; last != nil && last.ContainerID != s.state.Terminated.ContainerID {
		s.last = last
	}
	return s
}

// hold keeps an init container that was reported to have ended, and runs anew in another boot of the VM, at its end until it has
// ended again: the API server would take no status in which it has not.
func (b *builder) hold(m plan.Member, s seen, before corev1.ContainerStatus) seen {
	end := before.State.Terminated
	if m.Role != wire.RoleInit || end == nil || s.state.Terminated != nil || plan.MayLeaveEnd(b.Pod, m, end.ExitCode) {
		return s
	}
	if s.last != nil && s.last.ContainerID != end.ContainerID {
		return seen{state: corev1.ContainerState{Terminated: s.last}, last: end, restarts: s.restarts}
	}
	return seen{state: before.State, last: before.LastTerminationState.Terminated, restarts: before.RestartCount}
}

// finished is for a container whose latest attempt ended like end. One that runs again although the API server would take that
// end for its last waits.
func (b *builder) finished(m plan.Member, end, last *wire.Terminated) seen {
	b.again[m.Name] = plan.RunsAgain(b.Pod, m, b.guest, end)
	if m.Role == wire.RoleApp && b.again[m.Name] && !b.Terminating && !plan.MayLeaveEnd(b.Pod, m, end.ExitCode) {
		return seen{state: b.waitingState(b.Waiting[m.Name]), last: terminated(end), restarts: end.Attempt}
	}
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
func (b *builder) fromFormer(m plan.Member, c wire.ContainerStatus, before corev1.ContainerStatus) seen {
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
		return b.waiting(why, c)
	}
	s := b.finished(m, end, last)
	if b.again[c.Name] && b.startsAnew(c.Name) {
		s.last = s.state.Terminated
		s.state = b.waitingState(b.Waiting[c.Name])
	}
	return s
}

// startsAnew reports whether the next boot is on the way.
func (b *builder) startsAnew(name string) bool {
	if b.Terminating {
		return false
	}
	_, explained := b.Waiting[name]
	return explained || b.powered() || (b.VM != nil && b.VM.State == portlayer.StateCreated)
}

// vanished is the end of c together with its VM. It is reported once: what was reported of it stays.
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
// VM, or one whose guest knows of no container yet.
func (b *builder) fromStatus(m plan.Member, before corev1.ContainerStatus) seen {
	s := seen{
		state:    before.State,
		last:     before.LastTerminationState.Terminated,
		restarts: before.RestartCount,
		started:  isTrue(before.Started),
		ready:    before.Ready,
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
		s.state = b.waitingState(b.Waiting[before.Name])
		return s
	}
	b.again[before.Name] = plan.Restarts(b.Pod, m, s.state.Terminated.ExitCode)
	if b.again[before.Name] && b.startsAnew(before.Name) {
		s.last, s.state = s.state.Terminated, b.waitingState(b.Waiting[before.Name])
	}
	return s
}

// waiting is for a container that does not run now and will. Its restart count is that of its latest attempt.
func (b *builder) waiting(why Waiting, c wire.ContainerStatus) seen {
	s := seen{state: b.waitingState(why), last: terminated(c.Last), restarts: c.RestartCount}
	if c.Last != nil {
		s.restarts = c.Last.Attempt
	}
	return s
}

// waitingState is why the container waits. If nothing special hinders it, that is the kubelet's reason, which differs for pods
// with init containers and without.
func (b *builder) waitingState(why Waiting) corev1.ContainerState {
	reason := cmp.Or(why.Reason, wire.ReasonContainerCreating)
	if reason == wire.ReasonContainerCreating && len(b.Pod.Spec.InitContainers) > 0 {
		reason = wire.ReasonPodInitializing
	}
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: why.Message}}
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
