package operations_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	operationsmocks "github.com/virtual-kubelet/vic/mocks/operations"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer"
)

// newAdmission admits to a machine with that much free memory and a node of these facts.
func newAdmission(t *testing.T, free int64, facts operations.NodeFacts) *operations.Admission {
	t.Helper()
	host := operationsmocks.NewCapacityHost(t)
	host.EXPECT().Capacity(mock.Anything).Return(portlayer.Capacity{MemoryBytes: 1000, FreeMemoryBytes: free}, nil).Maybe()
	return operations.NewAdmission(operations.AdmissionConfig{Host: host, Node: func() operations.NodeFacts { return facts }})
}

// asking is a pod of that UID whose one container requests that.
func asking(uid types.UID, requests string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: uid}, Spec: corev1.PodSpec{Containers: []corev1.Container{{}}}}
	if requests != "" {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(requests)}
	}
	return p
}

func TestAdmissionPromisesNoMemoryTwice(t *testing.T) {
	a := newAdmission(t, 600, operations.NodeFacts{})
	require.NoError(t, a.Admit(t.Context(), asking("a", ""), 400))
	require.NoError(t, a.Admit(t.Context(), asking("a", ""), 400), "the same pod again")
	err := a.Admit(t.Context(), asking("b", ""), 400)
	require.ErrorIs(t, err, portlayer.ErrOutOfMemory)
	require.EqualError(t, err, "Node didn't have enough resource: memory, requested: 400, used: 800, capacity: 1000")
	a.Release("a")
	a.Release("a")
	require.NoError(t, a.Admit(t.Context(), asking("b", ""), 400))
}

func TestAdmissionCountsWhatPodsRequest(t *testing.T) {
	node := operations.NodeFacts{Allocatable: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourcePods: resource.MustParse("2"),
	}}
	a := newAdmission(t, 1000, node)
	require.NoError(t, a.Admit(t.Context(), asking("a", "1500m"), 1))
	a.Release("a") // it runs, and counts all the same
	err := a.Admit(t.Context(), asking("b", "600m"), 1)
	rejected := &worker.RejectionError{}
	require.ErrorAs(t, err, &rejected)
	assert.Equal(t, worker.RejectionError{
		Reason: "OutOfcpu", Message: "Node didn't have enough resource: cpu, requested: 600, used: 1500, capacity: 2000",
	}, *rejected)
	require.NotErrorIs(t, err, portlayer.ErrOutOfMemory)

	a.Adopt(asking("former", ""))
	require.ErrorAs(t, a.Admit(t.Context(), asking("b", ""), 1), &rejected)
	assert.Equal(t, "OutOfpods", rejected.Reason)
	assert.Equal(t, "Node didn't have enough resource: pods, requested: 1, used: 2, capacity: 2", rejected.Message)

	a.Leave("a")
	a.Leave("a")
	require.NoError(t, a.Admit(t.Context(), asking("b", "2"), 1))
}

func TestAdmissionLooksAtTheNode(t *testing.T) {
	object := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: nodeName, Labels: map[string]string{"rack": "r1"}},
		Spec:       corev1.NodeSpec{Taints: []corev1.Taint{{Key: "out", Effect: corev1.TaintEffectNoExecute}, {Key: "new", Effect: corev1.TaintEffectNoSchedule}}},
	}
	tolerant := asking("a", "")
	tolerant.Spec.Tolerations = []corev1.Toleration{{Key: "out", Operator: corev1.TolerationOpExists}}
	elsewhere := tolerant.DeepCopy()
	elsewhere.Spec.NodeSelector = map[string]string{"rack": "r2"}
	a := newAdmission(t, 1000, operations.NodeFacts{Object: object})
	require.NoError(t, a.Admit(t.Context(), tolerant, 1), "NoSchedule is the scheduler's")

	rejected := &worker.RejectionError{}
	require.ErrorAs(t, a.Admit(t.Context(), asking("b", ""), 1), &rejected)
	assert.Equal(t, "TaintToleration", rejected.Reason)
	require.ErrorAs(t, a.Admit(t.Context(), elsewhere, 1), &rejected)
	assert.Equal(t, "NodeAffinity", rejected.Reason)
}

func TestAdmissionUnderPressure(t *testing.T) {
	memory := []corev1.NodeConditionType{corev1.NodeMemoryPressure}
	disk := []corev1.NodeConditionType{corev1.NodeDiskPressure}
	both := slices.Concat(memory, disk)
	bestEffort, burstable, critical, tolerant := asking("a", ""), asking("a", "1"), asking("a", ""), asking("a", "")
	critical.Spec.Priority = new(int32(2_000_000_000))
	tolerant.Spec.Tolerations = []corev1.Toleration{{Key: corev1.TaintNodeMemoryPressure, Operator: corev1.TolerationOpExists}}
	tests := map[string]struct {
		pod       *corev1.Pod
		pressures []corev1.NodeConditionType
		want      string // the message
	}{
		"a node that is short of nothing takes all":       {bestEffort, nil, ""},
		"no pod comes to a full disk":                     {burstable, disk, "The node had condition: [DiskPressure]. "},
		"a critical pod comes":                            {critical, both, ""},
		"short memory keeps away who does not request it": {bestEffort, memory, "The node had condition: [MemoryPressure]. "},
		"who requests something comes to short memory":    {burstable, memory, ""},
		"so does who tolerates it":                        {tolerant, memory, ""},
		"that is no help where more is short":             {tolerant, both, "The node had condition: [MemoryPressure DiskPressure]. "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := newAdmission(t, 1000, operations.NodeFacts{Pressures: tt.pressures}).Admit(t.Context(), tt.pod, 1)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			rejected := &worker.RejectionError{}
			require.ErrorAs(t, err, &rejected)
			assert.Equal(t, worker.RejectionError{Reason: "Evicted", Message: tt.want}, *rejected)
		})
	}
	t.Run("a pod that is here already stays", func(t *testing.T) {
		a := newAdmission(t, 1000, operations.NodeFacts{Pressures: both})
		a.Adopt(bestEffort)
		require.NoError(t, a.Admit(t.Context(), bestEffort, 1))
	})
}
