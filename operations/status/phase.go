package status

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

// phase follows the kubelet's rules: a phase that is final stays; failed when an init container failed for good; pending
// until the pod is initialized and every container has run; running while one runs or will run again; then succeeded or
// failed by the exit codes. Ephemeral containers do not count.
func (b *builder) phase(s *corev1.PodStatus) (phase corev1.PodPhase, reason, message string) {
	switch {
	case isTerminal(b.old.Phase):
		return b.old.Phase, b.old.Reason, b.old.Message
	case isTerminal(b.Pod.Status.Phase):
		return b.Pod.Status.Phase, b.Pod.Status.Reason, b.Pod.Status.Message
	case b.PodReason != "":
		return corev1.PodFailed, b.PodReason, b.PodMessage
	case b.failedByDeadline():
		return corev1.PodFailed, ReasonDeadlineExceeded, messageDeadlineExceeded
	case b.failedByShutdown(s):
		return corev1.PodFailed, ReasonTerminated, messageTerminated
	}
	return b.count(s).phase(b.over()), "", ""
}

// failedByDeadline reports whether the pod's time was over before it was. It fails when its containers have ended.
func (b *builder) failedByDeadline() bool {
	if !b.ended() {
		return false
	}
	if b.guest != nil && b.guest.StopReason == wire.StopReasonDeadline {
		return true
	}
	deadline := plan.Deadline(b.Pod, b.startTime())
	return !deadline.IsZero() && !b.Now.Before(deadline) && !plan.Finished(b.guest)
}

// failedByShutdown reports whether the node's shutdown ended a pod that may not start again.
func (b *builder) failedByShutdown(s *corev1.PodStatus) bool {
	return b.guest != nil && b.guest.StopReason == plan.StopReasonNodeShutdown && b.ended() &&
		b.Pod.Spec.RestartPolicy == corev1.RestartPolicyNever && everRan(s)
}

// tally counts the containers of a pod by what they are to its phase.
type tally struct {
	initializing int // init containers that are to end and sidecars that are to start
	initFailed   int // init containers that failed for good
	running      int // sidecars too
	// Of the containers that the pod is made for: all, those that never ran, those that ended well, and those that ended
	// and will run again.
	all, waiting, succeeded, again int
}

func (b *builder) count(s *corev1.PodStatus) tally {
	t := tally{all: len(s.ContainerStatuses)}
	started := anyStarted(s)
	for i := range s.InitContainerStatuses {
		c := &s.InitContainerStatuses[i]
		if b.roles[c.Name] == wire.RoleSidecar {
			t.addSidecar(c, started)
		} else {
			t.addInit(c, b.again[c.Name])
		}
	}
	for i := range s.ContainerStatuses {
		c := &s.ContainerStatuses[i]
		switch {
		case c.State.Running != nil:
			t.running++
		case c.State.Terminated != nil:
			if c.State.Terminated.ExitCode == 0 {
				t.succeeded++
			}
			if b.again[c.Name] {
				t.again++
			}
		case c.LastTerminationState.Terminated != nil:
			t.again++
		default:
			t.waiting++
		}
	}
	return t
}

func (t *tally) addInit(c *corev1.ContainerStatus, again bool) {
	switch end := c.State.Terminated; {
	case end == nil:
		// One that waits for its next start is not pending: whether the pod is depends on its containers.
		if c.State.Running != nil || c.LastTerminationState.Terminated == nil {
			t.initializing++
		}
	case end.ExitCode != 0 && !again:
		t.initFailed++
	}
}

// addSidecar counts one that is yet to start only as long as none of the pod's containers ran: later it restarts beside
// them.
func (t *tally) addSidecar(c *corev1.ContainerStatus, podStarted bool) {
	switch {
	case c.State.Running != nil:
		t.running++
		if !isTrue(c.Started) && !podStarted {
			t.initializing++
		}
	case c.State.Waiting != nil && c.LastTerminationState.Terminated == nil && !podStarted:
		t.initializing++
	}
}

// phase is what the numbers make; over says that nothing is started again.
func (t tally) phase(over bool) corev1.PodPhase {
	switch {
	case t.initFailed > 0 && t.running == 0:
		return corev1.PodFailed
	case over && t.succeeded < t.all:
		return corev1.PodFailed
	case over:
		return corev1.PodSucceeded
	case t.initializing > 0, t.waiting > 0:
		return corev1.PodPending
	case t.running > 0, t.again > 0:
		return corev1.PodRunning
	case t.succeeded == t.all:
		return corev1.PodSucceeded
	}
	return corev1.PodFailed
}

// anyStarted reports whether one of the containers that the pod is made for runs or ended: it is initialized then, whatever
// its sidecars do.
func anyStarted(s *corev1.PodStatus) bool {
	for i := range s.ContainerStatuses {
		if state := &s.ContainerStatuses[i].State; state.Running != nil || state.Terminated != nil {
			return true
		}
	}
	return false
}

// ran reports whether the container was started at some time.
func ran(c *corev1.ContainerStatus) bool {
	return c.State.Waiting == nil || c.LastTerminationState.Terminated != nil
}

func everRan(s *corev1.PodStatus) bool {
	for _, all := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range all {
			if ran(&all[i]) {
				return true
			}
		}
	}
	return false
}

// bury gives an end to the containers of a pod that has ended of which none is known, as a kubelet does: to those before
// the last init container that ran, and, where the pod was initialized, to all that it is made for.
func (b *builder) bury(s *corev1.PodStatus) {
	unknown := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		Reason: plan.ReasonContainerStatusUnknown, Message: messageNeverSeen, ExitCode: exitCodeUnknown,
	}}
	end := func(c *corev1.ContainerStatus) {
		if c.State.Terminated == nil {
			c.State, c.Ready, c.Started = unknown, false, new(false)
		}
	}
	initialized := b.wasInitialized(s)
	later := false
	for i := len(s.InitContainerStatuses) - 1; i >= 0; i-- {
		c := &s.InitContainerStatuses[i]
		if later = later || ran(c); later {
			end(c)
		}
	}
	if !initialized {
		return
	}
	for i := range s.ContainerStatuses {
		end(&s.ContainerStatuses[i])
	}
}

// wasInitialized reports whether the turn came of the containers that the pod is made for.
func (b *builder) wasInitialized(s *corev1.PodStatus) bool {
	for i := range s.ContainerStatuses {
		if ran(&s.ContainerStatuses[i]) {
			return true
		}
	}
	if len(s.InitContainerStatuses) == 0 {
		return true
	}
	last := &s.InitContainerStatuses[len(s.InitContainerStatuses)-1]
	if b.roles[last.Name] == wire.RoleSidecar {
		return last.State.Running != nil && isTrue(last.Started)
	}
	return last.State.Terminated != nil && last.State.Terminated.ExitCode == 0
}

func isTrue(b *bool) bool { return b != nil && *b }
