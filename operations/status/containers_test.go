package status_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// initPod has an init container, a sidecar and a container c.
func initPod(policy corev1.RestartPolicy) *corev1.Pod {
	pod := newPod(policy)
	pod.Spec.InitContainers = []corev1.Container{
		{Name: "init", Image: "init:1"},
		{Name: "sidecar", Image: "sidecar:1", RestartPolicy: new(corev1.ContainerRestartPolicyAlways)},
	}
	return pod
}

func named(name string, c wire.ContainerStatus) wire.ContainerStatus {
	c.Name = name
	return c
}

func runs(name string, started, ready bool) wire.ContainerStatus {
	c := named(name, running(0, nil))
	c.Started, c.Ready = started, ready
	return c
}

func TestPhaseWithInitContainers(t *testing.T) {
	idle := func(name string) wire.ContainerStatus {
		return wire.ContainerStatus{Name: name, State: wire.ContainerWaiting, Reason: wire.ReasonPodInitializing}
	}
	crash := func(name string) wire.ContainerStatus {
		return wire.ContainerStatus{
			Name: name, State: wire.ContainerWaiting, Known: true, Reason: wire.ReasonCrashLoopBackOff, Last: end("id1", 1, 0), RestartCount: 1,
		}
	}
	done := terminated("init", "id1", 0)
	type row struct {
		status  corev1.ConditionStatus
		message string
	}
	yes := row{corev1.ConditionTrue, ""}
	no := func(message string) row { return row{corev1.ConditionFalse, message} }
	tests := map[string]struct {
		policy      corev1.RestartPolicy
		containers  []wire.ContainerStatus
		phase       corev1.PodPhase
		initialized row
		ready       row
	}{
		"an init container runs": {
			always,
			[]wire.ContainerStatus{runs("init", true, true), idle("sidecar"), idle("c")},
			corev1.PodPending,
			no("containers with incomplete status: [init sidecar]"), no("containers with unready status: [sidecar c]"),
		},
		"an init container failed and is tried again": {
			always,
			[]wire.ContainerStatus{crash("init"), idle("sidecar"), idle("c")},
			corev1.PodPending,
			no("containers with incomplete status: [init sidecar]"), no("containers with unready status: [sidecar c]"),
		},
		"an init container failed for good": {
			never,
			[]wire.ContainerStatus{terminated("init", "id1", 1), idle("sidecar"), idle("c")},
			corev1.PodFailed,
			no("containers with incomplete status: [init sidecar]"), no(""),
		},
		"a sidecar is to start": {
			always,
			[]wire.ContainerStatus{done, runs("sidecar", false, false), idle("c")},
			corev1.PodPending,
			no("containers with incomplete status: [sidecar]"), no("containers with unready status: [sidecar c]"),
		},
		"the container is to start": {
			always,
			[]wire.ContainerStatus{done, runs("sidecar", true, true), idle("c")},
			corev1.PodPending,
			yes, no("containers with unready status: [c]"),
		},
		"all run": {
			always, []wire.ContainerStatus{done, runs("sidecar", true, true), runs("c", true, true)}, corev1.PodRunning, yes, yes,
		},
		"a readiness probe fails": {
			always,
			[]wire.ContainerStatus{done, runs("sidecar", true, true), runs("c", true, false)},
			corev1.PodRunning,
			yes, no("containers with unready status: [c]"),
		},
		"a sidecar restarts beside the container": {
			always,
			[]wire.ContainerStatus{done, crash("sidecar"), runs("c", true, true)},
			corev1.PodRunning,
			yes, no("containers with unready status: [sidecar]"),
		},
		"the container has ended and the sidecar not yet": {
			never,
			[]wire.ContainerStatus{done, runs("sidecar", true, true), terminated("c", "id1", 0)},
			corev1.PodRunning,
			yes, no("containers with unready status: [c]"),
		},
		"all have ended, and how a sidecar did does not matter": {
			never,
			[]wire.ContainerStatus{done, terminated("sidecar", "id1", 137), terminated("c", "id1", 0)},
			corev1.PodSucceeded,
			yes, no(""),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := buildOf(status.Inputs{Pod: initPod(tt.policy), VM: live(tt.containers...)})
			assert.Equal(t, tt.phase, got.Phase)
			for kind, want := range map[corev1.PodConditionType]row{
				corev1.PodInitialized: tt.initialized, corev1.ContainersReady: tt.ready, corev1.PodReady: tt.ready,
			} {
				c := condition(t, got, kind)
				assert.Equal(t, want, row{c.Status, c.Message}, kind)
			}
			if tt.initialized.status == corev1.ConditionFalse {
				assert.Equal(t, "ContainersNotInitialized", condition(t, got, corev1.PodInitialized).Reason)
			}
			assert.Equal(t, tt.containers[0].Current != nil && tt.containers[0].Current.ExitCode == 0, got.InitContainerStatuses[0].Ready)
			assert.Nil(t, got.EphemeralContainerStatuses)
		})
	}
}

func TestWaitingInAPodWithInitContainers(t *testing.T) {
	got := buildOf(status.Inputs{Pod: initPod(always), Waiting: map[string]status.Waiting{"c": {Reason: "ErrImagePull", Message: "why"}}})
	assert.Equal(t, waiting("PodInitializing", ""), got.InitContainerStatuses[0].State)
	assert.Equal(t, waiting("PodInitializing", ""), got.InitContainerStatuses[1].State)
	assert.Equal(t, waiting("ErrImagePull", "why"), got.ContainerStatuses[0].State, "what is known is shown")
}

func TestADeletedPodThatWasNotInitialized(t *testing.T) {
	got := buildOf(status.Inputs{
		Pod: initPod(always), Terminating: true,
		VM: vm(portlayer.StateStopped, wire.PhaseConfigured, runs("init", true, true)),
	})
	assert.Equal(t, corev1.PodFailed, got.Phase)
	assert.Equal(t, int32(137), got.InitContainerStatuses[0].State.Terminated.ExitCode)
	assert.NotNil(t, got.InitContainerStatuses[1].State.Waiting, "its turn never came")
	assert.NotNil(t, got.ContainerStatuses[0].State.Waiting)
}

func TestDeadline(t *testing.T) {
	started := metaAt(0)
	tests := map[string]struct {
		vm     *podvm.VM
		phase  corev1.PodPhase
		reason string
	}{
		"what runs is ended first":          {live(running(0, nil)), corev1.PodRunning, ""},
		"then the pod has failed":           {vm(portlayer.StateStopped, wire.PhaseStopping, running(0, nil)), corev1.PodFailed, "DeadlineExceeded"},
		"as when it never ran":              {nil, corev1.PodFailed, "DeadlineExceeded"},
		"what ended before it has its word": {vm(portlayer.StateStopped, wire.PhaseDone, terminated("c", "id1", 0)), corev1.PodSucceeded, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := newPod(never)
			pod.Spec.ActiveDeadlineSeconds = new(int64(30))
			got := buildOf(status.Inputs{Pod: pod, VM: tt.vm, Previous: corev1.PodStatus{Phase: corev1.PodPending, StartTime: &started}})
			assert.Equal(t, tt.phase, got.Phase)
			assert.Equal(t, tt.reason, got.Reason)
		})
	}
	ended := vm(portlayer.StateStopped, wire.PhaseDone, terminated("c", "id1", 0))
	ended.Guest.StopReason = wire.StopReasonDeadline
	assert.Equal(t, "DeadlineExceeded", buildOf(status.Inputs{Pod: newPod(always), VM: ended}).Reason, "the guest says so")
}

func TestEphemeralContainers(t *testing.T) {
	pod := newPod(never)
	pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{
		{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox"}},
	}
	got := buildOf(status.Inputs{Pod: pod, VM: live(terminated("c", "id1", 0), runs("debug", true, true))})
	require.Len(t, got.EphemeralContainerStatuses, 1)
	c := got.EphemeralContainerStatuses[0]
	assert.NotNil(t, c.State.Running)
	assert.False(t, c.Ready)
	assert.Nil(t, c.Started)
	assert.Equal(t, corev1.PodSucceeded, got.Phase, "it keeps no pod running")
}

func TestResourcesAreThoseThatTheContainerHas(t *testing.T) {
	list := func(cpu string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}
	}
	pod := newPod(always)
	pod.Spec.Containers[0].Resources = corev1.ResourceRequirements{Limits: list("2"), Requests: list("1")}
	first := buildOf(status.Inputs{Pod: pod, VM: live(running(0, nil))})
	assert.Equal(t, list("1"), first.ContainerStatuses[0].AllocatedResources)
	assert.Equal(t, &pod.Spec.Containers[0].Resources, first.ContainerStatuses[0].Resources)
	resized := pod.DeepCopy()
	resized.Spec.Containers[0].Resources.Limits = list("4")
	again := buildOf(status.Inputs{Pod: resized, VM: live(running(0, nil)), Previous: first})
	assert.Equal(t, list("2"), again.ContainerStatuses[0].Resources.Limits, "what runs is not resized")
}

func TestAnInitContainerThatRunsAnew(t *testing.T) {
	first := corev1.ContainerStatus{
		Name: "init", ContainerID: "vic://id1", Ready: true, State: corev1.ContainerState{Terminated: shown("id1", 0)},
	}
	again := runs("init", true, false)
	again.RestartCount, again.Last = 1, end("id1", 0, 0)
	failed := wire.ContainerStatus{
		Name: "init", State: wire.ContainerWaiting, Known: true, Reason: wire.ReasonCrashLoopBackOff, RestartCount: 1, Last: end("id2", 3, 1),
	}
	tests := map[string]struct {
		policy corev1.RestartPolicy
		is     wire.ContainerStatus
		want   corev1.ContainerState
		count  int32
	}{
		"is shown as it ended before where the API server takes nothing else": {onFailure, again, first.State, 0},
		"is shown as it is where it does":                                     {always, again, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metaAt(5)}}, 1},
		"is shown as it failed, also while it waits for its next start":       {onFailure, failed, corev1.ContainerState{Terminated: shown("id2", 3)}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			in := status.Inputs{
				Pod:      initPod(tt.policy),
				VM:       live(tt.is, runs("sidecar", true, true), wire.ContainerStatus{Name: "c", State: wire.ContainerWaiting, Last: end("id0", 1, 0)}),
				Previous: corev1.PodStatus{Phase: corev1.PodRunning, InitContainerStatuses: []corev1.ContainerStatus{first}},
			}
			got := buildOf(in)
			assert.Equal(t, tt.want, got.InitContainerStatuses[0].State)
			assert.Equal(t, tt.count, got.InitContainerStatuses[0].RestartCount)
			in.Previous = got
			if tt.is.Last.ExitCode == 0 {
				assert.Equal(t, got.InitContainerStatuses, buildOf(in).InitContainerStatuses, "it stays")
			} else {
				assert.NotNil(t, buildOf(in).InitContainerStatuses[0].State.Waiting, "a failure may be left")
			}
		})
	}
}

func TestAContainerThatRunsAgainIsNotShownAtAnEndThatCannotBeLeft(t *testing.T) {
	waits := wire.ContainerStatus{
		Name: "c", State: wire.ContainerWaiting, Known: true, Reason: wire.ReasonContainerCreating, RestartCount: 1, Last: end("id1", 0, 0),
	}
	pod := newPod(onFailure)
	got := buildOf(status.Inputs{Pod: pod, VM: live(waits)}).ContainerStatuses[0]
	assert.NotNil(t, got.State.Waiting)
	assert.Equal(t, shown("id1", 0), got.LastTerminationState.Terminated)
	waits.Last = end("id1", 1, 0)
	got = buildOf(status.Inputs{Pod: pod, VM: live(waits)}).ContainerStatuses[0]
	assert.Equal(t, shown("id1", 1), got.State.Terminated, "a failure can be left")
}
