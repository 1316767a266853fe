package status_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

const (
	always    = corev1.RestartPolicyAlways
	onFailure = corev1.RestartPolicyOnFailure
	never     = corev1.RestartPolicyNever
)

func at(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 500, time.UTC) }

func metaAt(second int) metav1.Time { return metav1.NewTime(at(second).Truncate(time.Second)) }

func newPod(policy corev1.RestartPolicy, containers ...string) *corev1.Pod {
	if len(containers) == 0 {
		containers = []string{"c"}
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u1", Generation: 4},
		Spec:       corev1.PodSpec{RestartPolicy: policy},
	}
	for _, c := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: c, Image: "app:1"})
	}
	return pod
}

// vm is a pod VM with a lease, whose guest last reported those containers.
func vm(state portlayer.State, phase wire.Phase, containers ...wire.ContainerStatus) *podvm.VM {
	return &podvm.VM{
		VM: portlayer.VM{
			State:     state,
			StartedAt: at(0),
			Spec:      portlayer.Spec{NICs: []portlayer.NIC{{Addresses: []netip.Prefix{netip.MustParsePrefix("10.1.0.2/16")}}}},
		},
		Guest:   &wire.Snapshot{BootID: "b1", Time: at(0).Add(-time.Minute), Phase: phase, Containers: containers},
		Current: state == portlayer.StateRunning,
	}
}

func live(containers ...wire.ContainerStatus) *podvm.VM {
	return vm(portlayer.StateRunning, wire.PhaseConfigured, containers...)
}

func running(restarts int32, last *wire.Terminated) wire.ContainerStatus {
	return wire.ContainerStatus{
		Name: "c", State: wire.ContainerRunning, Known: true, Started: true, Ready: true, ID: "id2", StartedAt: at(5), RestartCount: restarts, Last: last,
	}
}

func end(id string, code, attempt int32) *wire.Terminated {
	reason := wire.ReasonCompleted
	if code != 0 {
		reason = wire.ReasonError
	}
	return &wire.Terminated{ID: id, ExitCode: code, Reason: reason, Message: "m", StartedAt: at(1), FinishedAt: at(4), Attempt: attempt}
}

func terminated(name, id string, code int32) wire.ContainerStatus {
	return wire.ContainerStatus{Name: name, State: wire.ContainerTerminated, Known: true, Current: end(id, code, 0), Final: true}
}

func shown(id string, code int32) *corev1.ContainerStateTerminated {
	t := end(id, code, 0)
	return &corev1.ContainerStateTerminated{
		ContainerID: "vic://" + id, ExitCode: code, Reason: t.Reason, Message: "m", StartedAt: metaAt(1), FinishedAt: metaAt(4),
	}
}

// lost is the end of a container that ran in a VM which ended.
func lost(message string, finished metav1.Time) *corev1.ContainerStateTerminated {
	return &corev1.ContainerStateTerminated{
		ContainerID: "vic://id2", ExitCode: 137, Reason: "ContainerStatusUnknown", Message: message,
		StartedAt: metaAt(5), FinishedAt: finished,
	}
}

const lostMessage = "the pod's VM ended while the container was running: killed"

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func buildOf(in status.Inputs) corev1.PodStatus {
	in.Now = at(50)
	in.HostIP = "192.0.2.1"
	return status.Build(in)
}

func TestARunningPod(t *testing.T) {
	machine := live(running(1, end("id1", 3, 0)))
	machine.Guest.Addresses = []netip.Addr{netip.MustParseAddr("10.1.0.2")}
	got := buildOf(status.Inputs{
		Pod: newPod(always), VM: machine, Images: map[string]status.ImageRef{"c": {Name: "docker.io/library/app:1", ID: "sha256:1"}},
	})
	yes := func(t corev1.PodConditionType) corev1.PodCondition {
		return corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, ObservedGeneration: 4, LastTransitionTime: metaAt(50)}
	}
	assert.Equal(t, corev1.PodStatus{
		ObservedGeneration: 4, Phase: corev1.PodRunning,
		HostIP: "192.0.2.1", HostIPs: []corev1.HostIP{{IP: "192.0.2.1"}},
		PodIP: "10.1.0.2", PodIPs: []corev1.PodIP{{IP: "10.1.0.2"}},
		StartTime: new(metaAt(50)), QOSClass: corev1.PodQOSBestEffort,
		Conditions: []corev1.PodCondition{
			yes(corev1.PodReadyToStartContainers), yes(corev1.PodInitialized), yes(corev1.PodReady), yes(corev1.ContainersReady),
			yes(corev1.PodScheduled),
		},
		ContainerStatuses: []corev1.ContainerStatus{{
			Name: "c", Image: "docker.io/library/app:1", ImageID: "sha256:1", ContainerID: "vic://id2",
			Ready: true, Started: new(true), RestartCount: 1,
			State:                corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metaAt(5)}},
			LastTerminationState: corev1.ContainerState{Terminated: shown("id1", 3)},
		}},
	}, got)
}

func TestContainer(t *testing.T) {
	crash := wire.ContainerStatus{
		Name: "c", State: wire.ContainerWaiting, Known: true, Reason: wire.ReasonCrashLoopBackOff, Message: "back-off 10s",
		Last: end("id1", 3, 4), RestartCount: 5,
	}
	finished := vm(portlayer.StateStopped, wire.PhaseDone, terminated("c", "id1", 0))
	killed := vm(portlayer.StateStopped, wire.PhaseConfigured, running(2, end("id1", 3, 1)))
	killed.StopReason = "killed"
	rebooting := vm(portlayer.StateRunning, wire.PhaseConfigured, running(2, end("id1", 3, 1)))
	rebooting.Current, rebooting.StopReason = false, "killed"
	seededFinal := wire.ContainerStatus{
		Name: "c", State: wire.ContainerTerminated, Current: end("id1", 0, 2), Last: end("id1", 0, 2), RestartCount: 2, Final: true,
	}
	tests := map[string]struct {
		policy   corev1.RestartPolicy
		vm       *podvm.VM
		waiting  status.Waiting
		previous corev1.ContainerStatus
		state    corev1.ContainerState
		last     *corev1.ContainerStateTerminated
		id       string
		restarts int32
		phase    corev1.PodPhase
	}{
		"no VM yet": {state: waiting("ContainerCreating", ""), phase: corev1.PodPending},
		"a refused pod": {
			waiting: status.Waiting{Reason: "UnsupportedField", Message: "spec.hostNetwork: no"},
			state:   waiting("UnsupportedField", "spec.hostNetwork: no"), phase: corev1.PodPending,
		},
		"a VM that boots while the image is pulled": {
			vm:      live(wire.ContainerStatus{Name: "c", State: wire.ContainerWaiting, Reason: wire.ReasonContainerCreating}),
			waiting: status.Waiting{Reason: "ErrImagePull", Message: "no such image"},
			state:   waiting("ErrImagePull", "no such image"), phase: corev1.PodPending,
		},
		"a guest that has the container knows better": {
			vm:      live(wire.ContainerStatus{Name: "c", State: wire.ContainerWaiting, Known: true, Reason: wire.ReasonRunContainerError, Message: "no such file"}),
			waiting: status.Waiting{Reason: "ErrImagePull"},
			state:   waiting("RunContainerError", "no such file"), phase: corev1.PodPending,
		},
		"a back-off counts the attempts that were": {
			vm: live(crash), state: waiting("CrashLoopBackOff", "back-off 10s"), last: shown("id1", 3), id: "vic://id1", restarts: 4,
			phase: corev1.PodRunning,
		},
		"a restart that goes on": {
			vm: live(wire.ContainerStatus{
				Name: "c", State: wire.ContainerWaiting, Known: true, Reason: wire.ReasonContainerCreating, Last: end("id2", 3, 2), RestartCount: 3,
			}),
			previous: corev1.ContainerStatus{
				ContainerID: "vic://id2", LastTerminationState: corev1.ContainerState{Terminated: shown("id1", 4)},
			},
			state: corev1.ContainerState{Terminated: shown("id2", 3)}, last: shown("id1", 4), id: "vic://id2", restarts: 2,
			phase: corev1.PodRunning,
		},
		"a success": {
			policy: never, vm: live(terminated("c", "id1", 0)), state: corev1.ContainerState{Terminated: shown("id1", 0)},
			id: "vic://id1", phase: corev1.PodSucceeded,
		},
		"a failure": {
			policy: onFailure, vm: vm(portlayer.StateRunning, wire.PhaseDone, wire.ContainerStatus{Name: "c", State: wire.ContainerTerminated, Current: end("id1", 3, 0)}),
			state: corev1.ContainerState{Terminated: shown("id1", 3)}, id: "vic://id1", phase: corev1.PodRunning,
		},
		"a failure that is final": {
			policy: never, vm: live(terminated("c", "id1", 3)), state: corev1.ContainerState{Terminated: shown("id1", 3)},
			id: "vic://id1", phase: corev1.PodFailed,
		},
		"a VM that was powered off after the end": {
			policy: never, vm: finished, state: corev1.ContainerState{Terminated: shown("id1", 0)}, id: "vic://id1", phase: corev1.PodSucceeded,
		},
		"an end before this boot": {
			policy: onFailure, vm: live(seededFinal), state: corev1.ContainerState{Terminated: shown("id1", 0)}, id: "vic://id1", restarts: 2,
			phase: corev1.PodSucceeded,
		},
		"a VM that was killed": {
			vm: killed, state: corev1.ContainerState{Terminated: lost(lostMessage, metaAt(50))}, last: shown("id1", 3), id: "vic://id2",
			restarts: 2, phase: corev1.PodRunning,
		},
		"a VM that was killed, without restarts": {
			policy: never, vm: killed, state: corev1.ContainerState{Terminated: lost(lostMessage, metaAt(50))}, last: shown("id1", 3),
			id: "vic://id2", restarts: 2, phase: corev1.PodFailed,
		},
		"a VM that was killed is reported once": {
			vm: killed, previous: corev1.ContainerStatus{State: corev1.ContainerState{Terminated: lost("reported", metaAt(30))}, RestartCount: 2},
			state: corev1.ContainerState{Terminated: lost("reported", metaAt(30))}, last: shown("id1", 3), id: "vic://id2", restarts: 2,
			phase: corev1.PodRunning,
		},
		"a VM that boots again": {
			vm: rebooting, previous: corev1.ContainerStatus{State: corev1.ContainerState{Terminated: lost("reported", metaAt(30))}},
			state: waiting("ContainerCreating", ""), last: lost("reported", metaAt(30)), id: "vic://id2", restarts: 2, phase: corev1.PodRunning,
		},
		"a VM that waits before it boots again": {
			vm: killed, waiting: status.Waiting{Reason: "CrashLoopBackOff", Message: "back-off 10s restarting pod VM"},
			state: waiting("CrashLoopBackOff", "back-off 10s restarting pod VM"), last: lost(lostMessage, metaAt(50)), id: "vic://id2",
			restarts: 2, phase: corev1.PodRunning,
		},
		"a restarted VM whose guest was given nothing yet": {
			vm: vm(portlayer.StateRunning, wire.PhaseWaiting),
			previous: corev1.ContainerStatus{
				State: waiting("ContainerCreating", ""), LastTerminationState: corev1.ContainerState{Terminated: lost("reported", metaAt(30))},
				ContainerID: "vic://id2", RestartCount: 2,
			},
			state: waiting("ContainerCreating", ""), last: lost("reported", metaAt(30)), id: "vic://id2", restarts: 2, phase: corev1.PodRunning,
		},
		"a VM that was removed with a container in it": {
			previous: corev1.ContainerStatus{
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metaAt(5)}}, ContainerID: "vic://id2", RestartCount: 2,
			},
			state: corev1.ContainerState{Terminated: lost("the pod's VM ended while the container was running", metaAt(50))},
			id:    "vic://id2", restarts: 2, phase: corev1.PodRunning,
		},
		"a removed VM that comes back": {
			vm: &podvm.VM{VM: portlayer.VM{State: portlayer.StateCreated}},
			previous: corev1.ContainerStatus{
				State: corev1.ContainerState{Terminated: lost("reported", metaAt(30))}, ContainerID: "vic://id2", RestartCount: 2,
			},
			state: waiting("ContainerCreating", ""), last: lost("reported", metaAt(30)), id: "vic://id2", restarts: 2, phase: corev1.PodRunning,
		},
		"a VM whose guest has not answered since it was found": {
			vm: &podvm.VM{VM: portlayer.VM{State: portlayer.StateRunning}},
			previous: corev1.ContainerStatus{
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metaAt(5)}}, ContainerID: "vic://id2", RestartCount: 2,
				Started: new(true), Ready: true,
			},
			state: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metaAt(5)}}, id: "vic://id2", restarts: 2,
			phase: corev1.PodRunning,
		},
		"a container before its pod was known again": {
			previous: corev1.ContainerStatus{State: corev1.ContainerState{Terminated: shown("id1", 0)}, ContainerID: "vic://id1"},
			policy:   never, state: corev1.ContainerState{Terminated: shown("id1", 0)}, id: "vic://id1", phase: corev1.PodSucceeded,
		},
		"a restart count never goes down": {
			vm: live(running(0, nil)), previous: corev1.ContainerStatus{RestartCount: 7}, restarts: 7, id: "vic://id2",
			state: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metaAt(5)}}, phase: corev1.PodRunning,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.previous.Name = "c"
			in := status.Inputs{
				Pod: newPod(tt.policy), VM: tt.vm,
				Previous: corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{tt.previous}},
			}
			if tt.waiting.Reason != "" {
				in.Waiting = map[string]status.Waiting{"c": tt.waiting}
			}
			got := buildOf(in)
			require.Len(t, got.ContainerStatuses, 1)
			c := got.ContainerStatuses[0]
			assert.Equal(t, tt.state, c.State)
			assert.Equal(t, tt.last, c.LastTerminationState.Terminated)
			assert.Equal(t, tt.id, c.ContainerID)
			assert.Equal(t, tt.restarts, c.RestartCount)
			assert.Equal(t, tt.phase, got.Phase)
			assert.Equal(t, c.State.Running != nil, c.Ready)
			assert.Equal(t, c.State.Running != nil, *c.Started)
		})
	}
}

func TestAnAdoptedVMIsNoNewBoot(t *testing.T) {
	machine := live(running(0, nil))
	machine.Current = false
	machine.Guest.Time = machine.StartedAt.Add(time.Second)
	got := buildOf(status.Inputs{Pod: newPod(always), VM: machine})
	require.NotNil(t, got.ContainerStatuses[0].State.Running)
	require.Equal(t, corev1.PodRunning, got.Phase)
}

func TestBuildIsStable(t *testing.T) {
	killed := vm(portlayer.StateStopped, wire.PhaseConfigured, running(2, nil))
	for name, machine := range map[string]*podvm.VM{
		"no VM": nil, "a running VM": live(running(0, nil)), "a VM that was killed": killed,
		"a finished VM": vm(portlayer.StateStopped, wire.PhaseDone, terminated("c", "id1", 0)),
	} {
		t.Run(name, func(t *testing.T) {
			pod := newPod(onFailure)
			first := status.Build(status.Inputs{Pod: pod, VM: machine, Now: at(50)})
			again := status.Build(status.Inputs{Pod: pod, VM: machine, Now: at(59), Previous: first})
			require.Equal(t, first, again)
			pod.Status = first
			adopted := status.Build(status.Inputs{Pod: pod, VM: machine, Now: at(59)})
			require.Equal(t, first, adopted, "from the API alone")
		})
	}
}

func TestPhaseOfSeveralContainers(t *testing.T) {
	a := func(code int32) wire.ContainerStatus { return terminated("a", "id1", code) }
	pulling := wire.ContainerStatus{Name: "c", State: wire.ContainerWaiting}
	tests := map[string]struct {
		policy     corev1.RestartPolicy
		containers []wire.ContainerStatus
		want       corev1.PodPhase
	}{
		"pending until all have started": {always, []wire.ContainerStatus{a(0), pulling}, corev1.PodPending},
		"running while one runs":         {never, []wire.ContainerStatus{a(1), running(0, nil)}, corev1.PodRunning},
		"succeeded when all have":        {never, []wire.ContainerStatus{a(0), terminated("c", "id2", 0)}, corev1.PodSucceeded},
		"failed when one has":            {never, []wire.ContainerStatus{a(1), terminated("c", "id2", 0)}, corev1.PodFailed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := buildOf(status.Inputs{Pod: newPod(tt.policy, "a", "c"), VM: live(tt.containers...)})
			require.Equal(t, tt.want, got.Phase)
		})
	}
}

func TestAFinalPhaseStays(t *testing.T) {
	over := corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "why"}
	pod := newPod(always)
	got := buildOf(status.Inputs{Pod: pod, VM: live(running(0, nil)), Previous: over})
	assert.Equal(t, []string{"Failed", "Evicted", "why"}, []string{string(got.Phase), got.Reason, got.Message})
	pod.Status = over
	got = buildOf(status.Inputs{Pod: pod, VM: live(running(0, nil)), Previous: corev1.PodStatus{Phase: corev1.PodRunning}})
	assert.Equal(t, []string{"Failed", "Evicted", "why"}, []string{string(got.Phase), got.Reason, got.Message})
}

func TestARejectedPodHasFailedAndNoContainers(t *testing.T) {
	got := buildOf(status.Inputs{Pod: newPod(always), PodReason: "OutOfmemory", PodMessage: "too little"})
	assert.Equal(t, []string{"Failed", "OutOfmemory", "too little"}, []string{string(got.Phase), got.Reason, got.Message})
	assert.Empty(t, got.ContainerStatuses)
	again := buildOf(status.Inputs{Pod: newPod(always), Previous: got})
	assert.Equal(t, got, again)
}

func TestTheShutdownOfTheNode(t *testing.T) {
	tests := map[string]struct {
		policy corev1.RestartPolicy
		was    wire.ContainerStatus
		state  portlayer.State
		want   corev1.PodPhase
		reason string
	}{
		"services go on":                     {always, terminated("c", "id1", 0), portlayer.StateStopped, corev1.PodRunning, ""},
		"work goes on that seemed done":      {onFailure, terminated("c", "id1", 0), portlayer.StateStopped, corev1.PodRunning, ""},
		"what runs once has failed":          {never, terminated("c", "id1", 0), portlayer.StateStopped, corev1.PodFailed, "Terminated"},
		"what runs once fails when it ended": {never, running(0, nil), portlayer.StateRunning, corev1.PodRunning, ""},
		"what never ran is still to run":     {never, wire.ContainerStatus{Name: "c", State: wire.ContainerWaiting, Final: true}, portlayer.StateStopped, corev1.PodPending, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			machine := vm(tt.state, wire.PhaseDone, tt.was)
			if tt.state == portlayer.StateRunning {
				machine.Guest.Phase = wire.PhaseStopping
			}
			machine.Guest.StopReason = plan.StopReasonNodeShutdown
			got := buildOf(status.Inputs{Pod: newPod(tt.policy), VM: machine})
			assert.Equal(t, tt.want, got.Phase)
			assert.Equal(t, tt.reason, got.Reason)
		})
	}
}

func TestATerminatingPod(t *testing.T) {
	unknown := &corev1.ContainerStateTerminated{
		ExitCode: 137, Reason: "ContainerStatusUnknown", Message: "The container could not be located when the pod was terminated",
	}
	crash := wire.ContainerStatus{Name: "c", State: wire.ContainerWaiting, Known: true, Last: end("id1", 3, 0), Final: true}
	tests := map[string]struct {
		vm    *podvm.VM
		state corev1.ContainerState
		phase corev1.PodPhase
	}{
		"runs until it has ended": {
			vm(portlayer.StateRunning, wire.PhaseStopping, running(0, nil)),
			corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metaAt(5)}},
			corev1.PodRunning,
		},
		"has succeeded when it ended well": {
			vm(portlayer.StateRunning, wire.PhaseDone, terminated("c", "id1", 0)),
			corev1.ContainerState{Terminated: shown("id1", 0)},
			corev1.PodSucceeded,
		},
		"has failed when it did not": {
			vm(portlayer.StateStopped, wire.PhaseDone, terminated("c", "id1", 143)),
			corev1.ContainerState{Terminated: shown("id1", 143)},
			corev1.PodFailed,
		},
		"has ended in a back-off": {
			vm(portlayer.StateRunning, wire.PhaseDone, crash), corev1.ContainerState{Terminated: shown("id1", 3)}, corev1.PodFailed,
		},
		"never ran":                       {nil, corev1.ContainerState{Terminated: unknown}, corev1.PodFailed},
		"never ran in its VM":             {vm(portlayer.StateRunning, wire.PhaseDone, wire.ContainerStatus{Name: "c", Final: true}), corev1.ContainerState{Terminated: unknown}, corev1.PodFailed},
		"does not run yet":                {vm(portlayer.StateRunning, wire.PhaseWaiting), waiting("ContainerCreating", ""), corev1.PodPending},
		"was removed before it could say": {vm(portlayer.StateRemoved, wire.PhaseStopping, running(0, nil)), corev1.ContainerState{Terminated: lost("the pod's VM ended while the container was running", metaAt(50))}, corev1.PodFailed},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := buildOf(status.Inputs{Pod: newPod(always), VM: tt.vm, Terminating: true})
			if tt.phase == corev1.PodFailed && len(got.ContainerStatuses) == 0 {
				t.Fatal("the containers of a pod that is deleted are shown")
			}
			assert.Equal(t, tt.state, got.ContainerStatuses[0].State)
			assert.Equal(t, tt.phase, got.Phase)
		})
	}
}

func TestAddresses(t *testing.T) {
	leased := live(running(0, nil))
	booting := vm(portlayer.StateRunning, wire.PhaseWaiting)
	removed := vm(portlayer.StateRemoved, wire.PhaseDone, terminated("c", "id1", 0))
	tests := map[string]struct {
		vm   *podvm.VM
		want string
	}{
		"none without a VM":                   {nil, ""},
		"none before the guest holds it":      {booting, ""},
		"the lease once the guest had it":     {leased, "10.1.0.2"},
		"the lease while the VM is off":       {vm(portlayer.StateStopped, wire.PhaseConfigured, running(0, nil)), "10.1.0.2"},
		"what it had when it is over for all": {removed, "10.1.0.9"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := buildOf(status.Inputs{
				Pod: newPod(never), VM: tt.vm,
				Previous: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.1.0.9"}}},
			})
			if tt.want == "" {
				assert.Empty(t, got.PodIP)
				assert.Empty(t, got.PodIPs)
				return
			}
			assert.Equal(t, tt.want, got.PodIP)
			assert.Equal(t, []corev1.PodIP{{IP: tt.want}}, got.PodIPs)
		})
	}
}

func TestTextsOfAPodHaveAKubeletsBudget(t *testing.T) {
	long := strings.Repeat("é", wire.MaxMessageBytes/2)
	for _, count := range []int{1, 100} {
		pod := newPod(always)
		pod.Spec.Containers = nil
		var containers []wire.ContainerStatus
		waits := map[string]status.Waiting{}
		for i := range count {
			name := fmt.Sprintf("c%d", i)
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: name})
			c := terminated(name, "id1", 1)
			c.Current.Message = long
			c.Last = end("id0", 2, 0)
			c.Last.Message = long
			if i%2 == 1 {
				c = wire.ContainerStatus{Name: name, State: wire.ContainerWaiting, Last: c.Last}
				waits[name] = status.Waiting{Reason: "ErrImagePull", Message: long}
			}
			containers = append(containers, c)
		}
		s := buildOf(status.Inputs{Pod: pod, VM: live(containers...), Waiting: waits})
		budget := min(12<<10/count, wire.MaxMessageBytes)
		for _, c := range s.ContainerStatuses {
			texts := []string{c.LastTerminationState.Terminated.Message}
			if c.State.Waiting != nil {
				texts = append(texts, c.State.Waiting.Message)
			} else {
				texts = append(texts, c.State.Terminated.Message)
			}
			for _, text := range texts {
				assert.LessOrEqual(t, len(text), budget)
				assert.Greater(t, len(text), budget-utf8.UTFMax)
				assert.True(t, utf8.ValidString(text))
			}
		}
	}
}
