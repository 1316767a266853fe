package plan_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

const (
	always    = corev1.RestartPolicyAlways
	onFailure = corev1.RestartPolicyOnFailure
	never     = corev1.RestartPolicyNever
)

func at(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC) }

func ended(attempt, code int32) *wire.Terminated {
	return &wire.Terminated{ID: "id", ExitCode: code, Reason: "R", StartedAt: at(1), FinishedAt: at(2), Attempt: attempt, LogBytes: 9}
}

// gone is the end of a container that ran in attempt 2 when its VM vanished.
func gone(message string, finished time.Time) *wire.Terminated {
	return &wire.Terminated{
		ID: "id", ExitCode: 137, Reason: "ContainerStatusUnknown", Message: message,
		StartedAt: at(1), FinishedAt: finished, Attempt: 2, LogBytes: 7,
	}
}

func seeds(policy corev1.RestartPolicy, former *wire.Snapshot, shown corev1.ContainerStatus) []wire.Seed {
	shown.Name = "c"
	pod := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: policy, Containers: []corev1.Container{{Name: "c"}}}}
	return plan.Seeds(pod, former, corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{shown}})
}

func TestSeedsFollowTheLastSnapshot(t *testing.T) {
	running := wire.ContainerStatus{
		State: wire.ContainerRunning, Known: true, ID: "id", StartedAt: at(1), RestartCount: 2, LogBytes: 7, Backoff: 20 * time.Second,
		Last: ended(1, 1),
	}
	done := func(code int32) wire.ContainerStatus {
		return wire.ContainerStatus{State: wire.ContainerTerminated, Known: true, Current: ended(2, code), RestartCount: 2, Final: true}
	}
	waiting := wire.ContainerStatus{
		State: wire.ContainerWaiting, Known: true, Reason: wire.ReasonCrashLoopBackOff, Last: ended(2, 0), RestartCount: 2,
		Backoff: 40 * time.Second, NextStart: at(30),
	}
	lost := gone("the pod's VM ended while the container was running", at(20))
	tests := map[string]struct {
		policy corev1.RestartPolicy
		was    wire.ContainerStatus
		reason string
		want   wire.Seed
	}{
		"what ran runs again":                       {policy: always, was: running, want: wire.Seed{RestartCount: 3, Last: lost, Backoff: 20 * time.Second}},
		"what ran had failed":                       {policy: onFailure, was: running, want: wire.Seed{RestartCount: 3, Last: lost, Backoff: 20 * time.Second}},
		"what ran and may not run again is final":   {policy: never, was: running, want: wire.Seed{RestartCount: 2, Last: lost, Final: true}},
		"a failure is final without restarts":       {policy: never, was: done(3), want: wire.Seed{RestartCount: 2, Last: ended(2, 3), Final: true}},
		"a failure is retried":                      {policy: onFailure, was: done(3), want: wire.Seed{RestartCount: 3, Last: ended(2, 3)}},
		"a success is final":                        {policy: onFailure, was: done(0), want: wire.Seed{RestartCount: 2, Last: ended(2, 0), Final: true}},
		"back-off goes on":                          {policy: always, was: waiting, want: wire.Seed{RestartCount: 3, Last: ended(2, 0), Backoff: 40 * time.Second, NotBefore: at(30)}},
		"what never ran begins":                     {policy: never, was: wire.ContainerStatus{State: wire.ContainerWaiting}},
		"what was stopped before it ran begins too": {policy: never, was: wire.ContainerStatus{State: wire.ContainerWaiting, Final: true}, reason: plan.StopReasonNodeShutdown},
		"a node's shutdown is not a success":        {policy: onFailure, was: done(0), reason: plan.StopReasonNodeShutdown, want: wire.Seed{RestartCount: 3, Last: ended(2, 0)}},
		"a node's shutdown ends no service":         {policy: always, was: done(0), reason: plan.StopReasonNodeShutdown, want: wire.Seed{RestartCount: 3, Last: ended(2, 0)}},
		"a node's shutdown ends what runs once":     {policy: never, was: done(0), reason: plan.StopReasonNodeShutdown, want: wire.Seed{RestartCount: 2, Last: ended(2, 0), Final: true}},
		"a node's shutdown forgives back-off":       {policy: always, was: waiting, reason: plan.StopReasonNodeShutdown, want: wire.Seed{RestartCount: 3, Last: ended(2, 0)}},
		"what had ended before the former boot stays ended": {
			policy: onFailure, reason: plan.StopReasonNodeShutdown,
			was:  wire.ContainerStatus{State: wire.ContainerTerminated, Current: ended(2, 0), Last: ended(2, 0), RestartCount: 2, Final: true},
			want: wire.Seed{RestartCount: 2, Last: ended(2, 0), Final: true},
		},
		"a restart that a shutdown came before is still due": {
			policy: onFailure, reason: plan.StopReasonNodeShutdown,
			was:  wire.ContainerStatus{State: wire.ContainerWaiting, Last: ended(2, 0), RestartCount: 3, Final: true},
			want: wire.Seed{RestartCount: 3, Last: ended(2, 0)},
		},
		"a boot that ended before the container's turn counts once": {
			policy: always,
			was:    wire.ContainerStatus{State: wire.ContainerWaiting, Last: ended(2, 1), RestartCount: 3},
			want:   wire.Seed{RestartCount: 3, Last: ended(2, 1)},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.was.Name, tt.want.Name = "c", "c"
			former := &wire.Snapshot{Time: at(20), StopReason: tt.reason, Containers: []wire.ContainerStatus{tt.was}}
			require.Equal(t, []wire.Seed{tt.want}, seeds(tt.policy, former, corev1.ContainerStatus{}))
		})
	}
}

func shownEnd() *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{
		ContainerID: "vic://id", ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "reported before",
		StartedAt: metav1.NewTime(at(1)), FinishedAt: metav1.NewTime(at(25)),
	}
}

func TestSeedsHoldTheEndThatTheStatusShowed(t *testing.T) {
	former := &wire.Snapshot{Time: at(20), Containers: []wire.ContainerStatus{
		{Name: "c", State: wire.ContainerRunning, Known: true, ID: "id", StartedAt: at(1), RestartCount: 2, LogBytes: 7},
	}}
	got := seeds(always, former, corev1.ContainerStatus{
		RestartCount: 2, State: corev1.ContainerState{Terminated: shownEnd()},
	})
	require.Equal(t, []wire.Seed{{Name: "c", RestartCount: 3, Last: gone("reported before", at(25))}}, got)
	got = seeds(always, former, corev1.ContainerStatus{
		RestartCount: 2, LastTerminationState: corev1.ContainerState{Terminated: shownEnd()},
	})
	require.Equal(t, []wire.Seed{{Name: "c", RestartCount: 3, Last: gone("reported before", at(25))}}, got)
}

func TestSeedsWithoutASnapshotFollowTheStatus(t *testing.T) {
	last := &wire.Terminated{
		ID: "id", ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "reported before", StartedAt: at(1), FinishedAt: at(25), Attempt: 2,
	}
	tests := map[string]struct {
		policy corev1.RestartPolicy
		shown  corev1.ContainerStatus
		want   wire.Seed
	}{
		"a pod that never ran":     {policy: always},
		"a container that ended":   {always, corev1.ContainerStatus{RestartCount: 2, State: corev1.ContainerState{Terminated: shownEnd()}}, wire.Seed{RestartCount: 3, Last: last}},
		"one that ended for good":  {never, corev1.ContainerStatus{RestartCount: 2, State: corev1.ContainerState{Terminated: shownEnd()}}, wire.Seed{RestartCount: 2, Last: last, Final: true}},
		"one that was to run next": {never, corev1.ContainerStatus{RestartCount: 2, LastTerminationState: corev1.ContainerState{Terminated: shownEnd()}}, wire.Seed{RestartCount: 3, Last: last}},
		"one that ran": {
			always,
			corev1.ContainerStatus{RestartCount: 2, ContainerID: "vic://id", State: corev1.ContainerState{
				Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(at(1))},
			}},
			wire.Seed{RestartCount: 3, Last: &wire.Terminated{
				ID: "id", ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "the pod's VM and its records are gone",
				StartedAt: at(1), Attempt: 2,
			}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.want.Name = "c"
			require.Equal(t, []wire.Seed{tt.want}, seeds(tt.policy, nil, tt.shown))
			empty := &wire.Snapshot{Phase: wire.PhaseWaiting}
			require.Equal(t, []wire.Seed{tt.want}, seeds(tt.policy, empty, tt.shown), "of a boot that was given nothing")
		})
	}
}

func TestARestartCountNeverGoesDown(t *testing.T) {
	former := &wire.Snapshot{Containers: []wire.ContainerStatus{
		{Name: "c", State: wire.ContainerTerminated, Known: true, Current: ended(0, 1)},
	}}
	require.Equal(t, int32(6), seeds(always, former, corev1.ContainerStatus{RestartCount: 5})[0].RestartCount)
	former.Containers[0] = wire.ContainerStatus{Name: "c", State: wire.ContainerWaiting}
	require.Equal(t, int32(5), seeds(always, former, corev1.ContainerStatus{RestartCount: 5})[0].RestartCount)
}

// seedsOf are seeds of a pod of an init container, a sidecar, two others and an ephemeral one.
func seedsOf(policy corev1.RestartPolicy, former ...wire.ContainerStatus) map[string]wire.Seed {
	pod := &corev1.Pod{Spec: corev1.PodSpec{
		RestartPolicy: policy,
		InitContainers: []corev1.Container{
			{Name: "init"}, {Name: "sidecar", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)},
		},
		Containers: []corev1.Container{{Name: "a"}, {Name: "b"}},
		EphemeralContainers: []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug"}},
		},
	}}
	seeds := map[string]wire.Seed{}
	for _, s := range plan.Seeds(pod, &wire.Snapshot{Containers: former}, corev1.PodStatus{}) {
		seeds[s.Name] = s
	}
	return seeds
}

func final(name string, code int32) wire.ContainerStatus {
	return wire.ContainerStatus{Name: name, State: wire.ContainerTerminated, Known: true, Current: ended(0, code), Final: true}
}

func runs(name string) wire.ContainerStatus {
	return wire.ContainerStatus{Name: name, State: wire.ContainerRunning, Known: true, Started: true, ID: "id", StartedAt: at(1)}
}

func TestSeedsOfSeveralContainers(t *testing.T) {
	tests := map[string]struct {
		policy corev1.RestartPolicy
		former []wire.ContainerStatus
		final  []string
		counts map[string]int32
	}{
		"a new boot initializes the pod again": {
			policy: always, former: []wire.ContainerStatus{final("init", 0), runs("sidecar"), runs("a"), final("b", 0)},
			counts: map[string]int32{"init": 1, "sidecar": 1, "a": 1, "b": 1},
		},
		"also when only one container is left to run": {
			policy: onFailure, former: []wire.ContainerStatus{final("init", 0), runs("sidecar"), runs("a"), final("b", 0)},
			final: []string{"b"}, counts: map[string]int32{"init": 1, "sidecar": 1, "a": 1},
		},
		"what may not start again is not initialized again": {
			policy: never, former: []wire.ContainerStatus{final("init", 0), runs("sidecar"), {Name: "a"}, final("b", 1)},
			final: []string{"init", "b"}, counts: map[string]int32{"sidecar": 1},
		},
		"where all have ended the rest has too": {
			policy: onFailure, former: []wire.ContainerStatus{final("init", 0), runs("sidecar"), final("a", 0), final("b", 0)},
			final: []string{"init", "sidecar", "a", "b"}, counts: map[string]int32{"init": 1, "sidecar": 1},
		},
		"an init container that failed for good ends the pod": {
			policy: never, former: []wire.ContainerStatus{final("init", 2)},
			final: []string{"init", "sidecar", "a", "b"},
		},
		"one that may fail is tried again": {
			policy: always, former: []wire.ContainerStatus{runs("init")}, counts: map[string]int32{"init": 1},
		},
		"a debugger is not started again": {
			policy: always, former: []wire.ContainerStatus{final("init", 0), runs("sidecar"), runs("a"), runs("b"), runs("debug")},
			final: []string{"debug"}, counts: map[string]int32{"init": 1, "sidecar": 1, "a": 1, "b": 1},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := seedsOf(tt.policy, tt.former...)
			for name, s := range got {
				assert.Equal(t, slices.Contains(tt.final, name), s.Final, name)
				assert.Equal(t, tt.counts[name], s.RestartCount, name)
			}
			assert.Equal(t, wire.RoleInit, got["init"].Role)
			assert.Equal(t, wire.RoleSidecar, got["sidecar"].Role)
			assert.Equal(t, wire.RoleApp, got["a"].Role)
			_, seeded := got["debug"]
			assert.Equal(t, slices.Contains(tt.final, "debug"), seeded, "one that never ran is given when it is to run")
		})
	}
}
