package plan

import (
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// StopReasonNodeShutdown is that of pods whose node ends.
const StopReasonNodeShutdown = wire.StopReasonNodeShutdown

// ContainerIDPrefix stands before a container's ID in a pod's status.
const ContainerIDPrefix = "vic://"

// ReasonContainerStatusUnknown is the kubelet's reason for a container that is gone and left no exit code.
const ReasonContainerStatusUnknown = "ContainerStatusUnknown"

// exitCodeKilled is that of a process that SIGKILL ended: nothing less sudden ends one together with its VM.
const exitCodeKilled = 128 + 9

// Seeds says what each container of pod carries into the next boot of its VM. former is the last snapshot of the boot
// before, nil where there is none; status is the pod's last known status, from which the end of a vanished container is
// taken, so that both say the same.
//
// A container that ran when its VM vanished has ended with exit code 137. One that will not run again is Final. Unless
// the pod may start nothing again, its init containers run anew in each boot, as they do in each sandbox of a kubelet.
// Where no container that the pod is made for will run, nothing does.
func Seeds(pod *corev1.Pod, former *wire.Snapshot, status corev1.PodStatus) []wire.Seed {
	members := Members(pod)
	seeds := make([]wire.Seed, 0, len(members))
	over := true
	for _, m := range members {
		s := seeder{pod: pod, member: m, shown: shown(status, m.Name)}
		seed := wire.Seed{Name: m.Name, Role: m.Role}
		if c, ok := formerContainer(former, m.Name); ok {
			s.fromSnapshot(&seed, c, former)
		} else {
			s.fromStatus(&seed)
		}
		if m.Role == wire.RoleEphemeral && seed.Last == nil {
			continue // the guest hears of it when it is to run
		}
		over = over && (m.Role != wire.RoleApp || seed.Final)
		seeds = append(seeds, seed)
	}
	for i := range seeds {
		s := &seeds[i]
		if s.Role != wire.RoleInit || !s.Final {
			continue
		}
		if s.Last.ExitCode != 0 {
			over = true
		} else if pod.Spec.RestartPolicy != corev1.RestartPolicyNever {
			s.Final = false
			s.RestartCount++
		}
	}
	for i := range seeds {
		seeds[i].Final = seeds[i].Final || over
	}
	return seeds
}

func formerContainer(former *wire.Snapshot, name string) (wire.ContainerStatus, bool) {
	if former == nil {
		return wire.ContainerStatus{}, false
	}
	return former.Container(name)
}

func shown(status corev1.PodStatus, name string) corev1.ContainerStatus {
	for _, all := range [][]corev1.ContainerStatus{
		status.InitContainerStatuses, status.ContainerStatuses, status.EphemeralContainerStatuses,
	} {
		for _, c := range all {
			if c.Name == name {
				return c
			}
		}
	}
	return corev1.ContainerStatus{}
}

// seeder makes the seed of one container.
type seeder struct {
	pod    *corev1.Pod
	member Member
	// shown is the container's last known status.
	shown corev1.ContainerStatus
}

func (s *seeder) fromSnapshot(seed *wire.Seed, c wire.ContainerStatus, former *wire.Snapshot) {
	end := Ended(c)
	if c.State == wire.ContainerRunning {
		end = s.shownEnd(c.ID)
		if end == nil {
			end = Vanished(c, former.Time, "the pod's VM ended while the container was running")
		}
		end.Attempt, end.LogBytes = c.RestartCount, c.LogBytes
	}
	if end == nil {
		seed.RestartCount = max(c.RestartCount, s.shown.RestartCount)
		return
	}
	s.after(seed, end, RunsAgain(s.pod, s.member, former, end))
	if !seed.Final && former.StopReason != StopReasonNodeShutdown {
		seed.Backoff, seed.NotBefore = c.Backoff, c.NextStart
	}
}

// fromStatus is for a pod whose snapshots are lost: what was reported of it is all that is known.
func (s *seeder) fromStatus(seed *wire.Seed) {
	var end *wire.Terminated
	again := false
	state, last := s.shown.State, s.shown.LastTerminationState.Terminated
	switch {
	case state.Terminated != nil:
		end = terminated(state.Terminated, s.shown.RestartCount)
	case state.Running != nil:
		end = Vanished(wire.ContainerStatus{
			ID:           strings.TrimPrefix(s.shown.ContainerID, ContainerIDPrefix),
			StartedAt:    state.Running.StartedAt.Time,
			RestartCount: s.shown.RestartCount,
		}, time.Time{}, "the pod's VM and its records are gone")
	case last != nil:
		end, again = terminated(last, s.shown.RestartCount), true
	default:
		return
	}
	s.after(seed, end, again || Restarts(s.pod, s.member, end.ExitCode))
}

// after seeds what follows an attempt that ended like end.
func (s *seeder) after(seed *wire.Seed, end *wire.Terminated, again bool) {
	seed.Last = end
	seed.RestartCount = max(end.Attempt, s.shown.RestartCount)
	if !again {
		seed.Final = true
		return
	}
	seed.RestartCount++
}

// shownEnd is how the status says that the container of that ID ended, nil where it does not.
func (s *seeder) shownEnd(id string) *wire.Terminated {
	for _, t := range []*corev1.ContainerStateTerminated{s.shown.State.Terminated, s.shown.LastTerminationState.Terminated} {
		if id != "" && t != nil && t.ContainerID == ContainerIDPrefix+id {
			return terminated(t, s.shown.RestartCount)
		}
	}
	return nil
}

func terminated(t *corev1.ContainerStateTerminated, attempt int32) *wire.Terminated {
	return &wire.Terminated{
		ID:         strings.TrimPrefix(t.ContainerID, ContainerIDPrefix),
		ExitCode:   t.ExitCode,
		Signal:     t.Signal,
		Reason:     t.Reason,
		Message:    t.Message,
		StartedAt:  t.StartedAt.Time,
		FinishedAt: t.FinishedAt.Time,
		Attempt:    attempt,
	}
}

// Finished reports whether all that a guest ran ended by itself, and not because the node did.
func Finished(last *wire.Snapshot) bool {
	return last != nil && last.Phase == wire.PhaseDone && last.StopReason != StopReasonNodeShutdown
}

// Ended returns how the latest attempt of c that ended did so, nil where none has ended.
func Ended(c wire.ContainerStatus) *wire.Terminated {
	if c.Current != nil {
		return c.Current
	}
	return c.Last
}

// Vanished is the end of a container that ran when its VM did not any more: exit code 137 at that time.
func Vanished(c wire.ContainerStatus, at time.Time, why string) *wire.Terminated {
	return &wire.Terminated{
		ID:         c.ID,
		ExitCode:   exitCodeKilled,
		Reason:     ReasonContainerStatusUnknown,
		Message:    why,
		StartedAt:  c.StartedAt,
		FinishedAt: at,
		Attempt:    c.RestartCount,
		LogBytes:   c.LogBytes,
	}
}
