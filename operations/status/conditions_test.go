package status_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

func condition(t *testing.T, s corev1.PodStatus, kind corev1.PodConditionType) corev1.PodCondition {
	t.Helper()
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	require.Fail(t, "no condition", kind)
	return corev1.PodCondition{}
}

func TestConditions(t *testing.T) {
	silent := live(running(0, nil))
	silent.SilentSince = at(10)
	hushed := live(running(0, nil))
	hushed.SilentSince = at(11)
	const unready = "containers with unready status: [c]"
	type row struct {
		status          corev1.ConditionStatus
		reason, message string
	}
	yes := row{status: corev1.ConditionTrue}
	no := func(reason, message string) row { return row{corev1.ConditionFalse, reason, message} }
	notReady := no("PodSandboxNotReady", "the pod VM is not ready")
	tests := map[string]struct {
		vm                                       *podvm.VM
		sandbox, initialized, ready, containersR row
	}{
		"a pod without a VM": {nil, no("PodSandboxNotReady", "no pod VM exists"), yes, no("ContainersNotReady", unready), no("ContainersNotReady", unready)},
		"a guest that waits for its plan": {
			vm(portlayer.StateRunning, wire.PhaseWaiting), notReady, yes, no("ContainersNotReady", unready), no("ContainersNotReady", unready),
		},
		"a guest that is configured": {
			live(wire.ContainerStatus{Name: "c", State: wire.ContainerWaiting}), yes, yes,
			no("ContainersNotReady", unready), no("ContainersNotReady", unready),
		},
		"a pod that runs": {live(running(0, nil)), yes, yes, yes, yes},
		"a pod that succeeded": {
			vm(portlayer.StateStopped, wire.PhaseDone, terminated("c", "id1", 0)), notReady,
			row{corev1.ConditionTrue, "PodCompleted", ""},
			no("PodCompleted", ""), no("PodCompleted", ""),
		},
		"a pod that failed": {
			vm(portlayer.StateStopped, wire.PhaseDone, terminated("c", "id1", 1)), notReady, yes, no("PodFailed", ""), no("PodFailed", ""),
		},
		"a guest that has been silent": {
			silent, yes, yes, no("GuestUnreachable", "the guest in the pod's VM has not answered since 2026-01-02T03:04:10Z"), yes,
		},
		"a guest that is silent for a while": {hushed, yes, yes, yes, yes},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := buildOf(status.Inputs{Pod: newPod(never), VM: tt.vm})
			for kind, want := range map[corev1.PodConditionType]row{
				corev1.PodScheduled: yes, corev1.PodReadyToStartContainers: tt.sandbox, corev1.PodInitialized: tt.initialized,
				corev1.PodReady: tt.ready, corev1.ContainersReady: tt.containersR,
			} {
				c := condition(t, got, kind)
				assert.Equal(t, want, row{c.Status, c.Reason, c.Message}, kind)
			}
		})
	}
}

func TestReadinessGates(t *testing.T) {
	pod := newPod(always)
	pod.Spec.ReadinessGates = []corev1.PodReadinessGate{{ConditionType: "example.com/lb"}, {ConditionType: "example.com/dns"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: "example.com/lb", Status: corev1.ConditionFalse}}
	ready := func() corev1.PodCondition {
		return condition(t, buildOf(status.Inputs{Pod: pod, VM: live(running(0, nil))}), corev1.PodReady)
	}
	c := ready()
	assert.Equal(t, "ReadinessGatesNotReady", c.Reason)
	assert.Equal(t, `the status of pod readiness gate "example.com/lb" is not "True", but False, `+
		`corresponding condition of pod readiness gate "example.com/dns" does not exist.`, c.Message)
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: "example.com/lb", Status: corev1.ConditionTrue}, {Type: "example.com/dns", Status: corev1.ConditionTrue},
	}
	assert.Equal(t, corev1.ConditionTrue, ready().Status)
}

func TestWhatOthersWroteStays(t *testing.T) {
	pod := newPod(always)
	other := corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, LastTransitionTime: metaAt(3)}
	pod.Status = corev1.PodStatus{
		QOSClass: corev1.PodQOSBurstable, NominatedNodeName: "n",
		Conditions: []corev1.PodCondition{other, {Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metaAt(2)}},
	}
	got := buildOf(status.Inputs{Pod: pod, VM: live(running(0, nil))})
	assert.Equal(t, other, got.Conditions[0])
	assert.Equal(t, metaAt(2), condition(t, got, corev1.PodScheduled).LastTransitionTime)
	assert.Equal(t, corev1.PodQOSBurstable, got.QOSClass)
	assert.Equal(t, "n", got.NominatedNodeName)
	assert.Len(t, got.Conditions, 6)
}

func TestATransitionIsDatedByItsChange(t *testing.T) {
	pod := newPod(always)
	first := status.Build(status.Inputs{Pod: pod, Now: at(10)})
	second := status.Build(status.Inputs{Pod: pod, VM: live(running(0, nil)), Now: at(20), Previous: first})
	third := status.Build(status.Inputs{Pod: pod, VM: live(running(0, nil)), Now: at(30), Previous: second})
	assert.Equal(t, metaAt(10), condition(t, first, corev1.PodReady).LastTransitionTime)
	assert.Equal(t, metaAt(20), condition(t, second, corev1.PodReady).LastTransitionTime)
	assert.Equal(t, metaAt(20), condition(t, third, corev1.PodReady).LastTransitionTime)
	assert.Equal(t, metaAt(10), condition(t, third, corev1.PodInitialized).LastTransitionTime)
	assert.Equal(t, metaAt(10), *third.StartTime)
}

func TestASilentGuestIsJudgedByTheClock(t *testing.T) {
	machine := live(running(0, nil))
	machine.SilentSince = at(0)
	now := at(0).Add(status.SilentAfter)
	ready := func(now time.Time) corev1.ConditionStatus {
		return condition(t, status.Build(status.Inputs{Pod: newPod(always), VM: machine, Now: now}), corev1.PodReady).Status
	}
	assert.Equal(t, corev1.ConditionTrue, ready(now.Add(-time.Second)))
	assert.Equal(t, corev1.ConditionFalse, ready(now))
}

func TestQOSClass(t *testing.T) {
	list := func(cpu, memory string) corev1.ResourceList {
		return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
	tests := map[string]struct {
		resources corev1.ResourceRequirements
		want      corev1.PodQOSClass
	}{
		"nothing asked for":         {corev1.ResourceRequirements{}, corev1.PodQOSBestEffort},
		"limits alone":              {corev1.ResourceRequirements{Limits: list("1", "1Gi")}, corev1.PodQOSGuaranteed},
		"limits and equal requests": {corev1.ResourceRequirements{Limits: list("1", "1Gi"), Requests: list("1000m", "1Gi")}, corev1.PodQOSGuaranteed},
		"less requested":            {corev1.ResourceRequirements{Limits: list("1", "1Gi"), Requests: list("1", "1Mi")}, corev1.PodQOSBurstable},
		"requests alone":            {corev1.ResourceRequirements{Requests: list("1", "1Gi")}, corev1.PodQOSBurstable},
		"one limit": {corev1.ResourceRequirements{Limits: corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("1"),
		}}, corev1.PodQOSBurstable},
		"other resources do not count": {corev1.ResourceRequirements{Limits: corev1.ResourceList{
			corev1.ResourceEphemeralStorage: resource.MustParse("1Gi"),
		}}, corev1.PodQOSBestEffort},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := newPod(always)
			pod.Spec.Containers[0].Resources = tt.resources
			require.Equal(t, tt.want, buildOf(status.Inputs{Pod: pod}).QOSClass)
		})
	}
}
