package provider

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	timeout = 10 * time.Second
	poll    = 5 * time.Millisecond
)

// vch answers as a test sets it.
type vch struct {
	mu       sync.Mutex // guards all below
	capacity portlayer.Capacity
	err      error
}

func (v *vch) Capacity(context.Context) (portlayer.Capacity, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.capacity, v.err
}

func (v *vch) set(c portlayer.Capacity, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.capacity, v.err = c, err
}

func conditionOf(t *testing.T, n *corev1.Node, kind corev1.NodeConditionType) corev1.NodeCondition {
	t.Helper()
	for _, c := range n.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	require.Fail(t, "no condition "+string(kind))
	return corev1.NodeCondition{}
}

func TestNodeObject(t *testing.T) {
	desc := &Description{
		InternalIP: "10.0.0.1", Zone: "z", Labels: map[string]string{"type": "mine"},
		Taints: []corev1.Taint{config.DefaultTaint()}, KubeletVersion: "v1.37.1-vic-1",
		Reserved: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi"), corev1.ResourceCPU: resource.MustParse("100")},
	}
	capacity := portlayer.Capacity{CPUMilli: 2500, MemoryBytes: 3 << 30, StorageBytes: 10 << 30, Pods: 50}
	n := nodeObject("v", desc, 10250, observation{capacity, health{ready: true, reason: "r"}, time.Unix(1000, 0)})

	assert.Equal(t, "mine", n.Labels["type"], "a user's label wins")
	assert.Equal(t, "z", n.Labels[corev1.LabelTopologyZone])
	assert.NotContains(t, n.Labels, corev1.LabelTopologyRegion)
	assert.Equal(t, "v", n.Labels[corev1.LabelHostname])
	assert.Equal(t, []corev1.Taint{{Key: "virtual-kubelet.io/provider", Value: "vic", Effect: "NoSchedule"}}, n.Spec.Taints)
	assert.Equal(t, int64(2500), n.Status.Capacity.Cpu().MilliValue())
	assert.Equal(t, "2Gi", n.Status.Allocatable.Memory().String())
	assert.True(t, n.Status.Allocatable.Cpu().IsZero(), "more is reserved than there is")
	assert.Equal(t, int64(50), n.Status.Allocatable.Pods().Value())
	assert.Equal(t, "10Gi", n.Status.Capacity.StorageEphemeral().String())
	assert.Equal(t, corev1.ConditionTrue, conditionOf(t, n, corev1.NodeReady).Status)
	for _, kind := range []corev1.NodeConditionType{
		corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure, corev1.NodeNetworkUnavailable,
	} {
		assert.Equal(t, corev1.ConditionFalse, conditionOf(t, n, kind).Status, kind)
	}
}

func TestConditions(t *testing.T) {
	said := func(kind string, is bool) portlayer.Capacity {
		return portlayer.Capacity{Conditions: []portlayer.Condition{{Type: kind, True: is, Reason: "Said", Message: "m"}}}
	}
	ready := health{ready: true, reason: "Own"}
	tests := map[string]struct {
		capacity   portlayer.Capacity
		health     health
		kind       corev1.NodeConditionType
		wantStatus corev1.ConditionStatus
		wantReason string
	}{
		"a full VCH is under disk pressure":                    {said("DiskPressure", true), ready, corev1.NodeDiskPressure, "True", "Said"},
		"a VCH that is not ready makes the node not ready":     {said("Ready", false), ready, corev1.NodeReady, "False", "Said"},
		"a VCH that is ready does not make a starting node so": {said("Ready", true), health{reason: "Own"}, corev1.NodeReady, "False", "Own"},
		"what a VCH says beside them is shown":                 {said("PodVMsUnreadable", true), ready, "PodVMsUnreadable", "True", "Said"},
		"a condition beside them leaves the node ready":        {said("PodVMsUnreadable", true), ready, corev1.NodeReady, "True", "Own"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			n := nodeObject("v", &Description{}, 1, observation{tt.capacity, tt.health, time.Now()})
			c := conditionOf(t, n, tt.kind)
			assert.Equal(t, tt.wantStatus, c.Status)
			assert.Equal(t, tt.wantReason, c.Reason)
			seen := map[corev1.NodeConditionType]bool{}
			for _, c := range n.Status.Conditions {
				assert.False(t, seen[c.Type], "each kind is there once")
				seen[c.Type] = true
			}
		})
	}
}

func TestTransitionTimesChangeOnlyOnChange(t *testing.T) {
	before := nodeObject("v", &Description{}, 1, observation{portlayer.Capacity{}, health{}, time.Unix(1000, 0)})
	after := nodeObject("v", &Description{}, 1, observation{portlayer.Capacity{}, health{ready: true}, time.Unix(2000, 0)})
	keepTransitions(after.Status.Conditions, before.Status.Conditions)
	assert.Equal(t, int64(2000), conditionOf(t, after, corev1.NodeReady).LastTransitionTime.Unix())
	assert.Equal(t, int64(1000), conditionOf(t, after, corev1.NodePIDPressure).LastTransitionTime.Unix())
	assert.Equal(t, int64(2000), conditionOf(t, after, corev1.NodePIDPressure).LastHeartbeatTime.Unix())
}

func newReporter(client *fake.Clientset, host Host, taints ...corev1.Taint) *nodeReporter {
	return newNodeReporter(reporterConfig{
		name: "v", desc: &Description{InternalIP: "10.0.0.1", Taints: taints, BootID: "b2"}, host: host, api: client.CoreV1().Nodes(),
	})
}

// virtual is what a former run has left of a node.
func virtual() metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: "v", Labels: map[string]string{config.NodeTypeLabel: config.NodeType}}
}

func TestRegister(t *testing.T) {
	foreign := corev1.Taint{Key: "node.kubernetes.io/not-ready", Effect: corev1.TaintEffectNoSchedule}
	tests := map[string]struct {
		there []corev1.Taint
		ours  []corev1.Taint
		want  []corev1.Taint
	}{
		"a taint that is no longer wanted goes":     {[]corev1.Taint{foreign, config.DefaultTaint()}, nil, []corev1.Taint{foreign}},
		"a taint that is wanted comes":              {[]corev1.Taint{foreign}, []corev1.Taint{config.DefaultTaint()}, []corev1.Taint{foreign, config.DefaultTaint()}},
		"the order of taints is left alone":         {[]corev1.Taint{config.DefaultTaint(), foreign}, []corev1.Taint{config.DefaultTaint()}, []corev1.Taint{config.DefaultTaint(), foreign}},
		"a taint that is there does not come twice": {[]corev1.Taint{config.DefaultTaint()}, []corev1.Taint{config.DefaultTaint()}, []corev1.Taint{config.DefaultTaint()}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			client := fake.NewClientset(&corev1.Node{ObjectMeta: virtual(), Spec: corev1.NodeSpec{Taints: tt.there}})
			_, err := newReporter(client, &vch{}, tt.ours...).register(t.Context())
			require.NoError(t, err)
			got, err := client.CoreV1().Nodes().Get(t.Context(), "v", metav1.GetOptions{})
			require.NoError(t, err)
			assert.Equal(t, tt.want, got.Spec.Taints)
		})
	}
	t.Run("a node that is not there is made", func(t *testing.T) {
		client := fake.NewClientset()
		_, err := newReporter(client, &vch{}, config.DefaultTaint()).register(t.Context())
		require.NoError(t, err)
		got, err := client.CoreV1().Nodes().Get(t.Context(), "v", metav1.GetOptions{})
		require.NoError(t, err)
		assert.Equal(t, []corev1.Taint{config.DefaultTaint()}, got.Spec.Taints)
	})
}

// restricted is an API server that treats a node as the admission plug-in NodeRestriction does.
func restricted(t *testing.T, nodes ...*corev1.Node) *fake.Clientset {
	t.Helper()
	client := fake.NewClientset()
	for _, n := range nodes {
		require.NoError(t, client.Tracker().Add(n))
	}
	refuse := func(why string) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(corev1.Resource("nodes"), "v", errors.New(why))
	}
	client.PrependReactor("create", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		made := a.(clienttesting.CreateAction).GetObject().(*corev1.Node)
		if _, has := made.Labels["kubernetes.io/role"]; has {
			return refuse("is not allowed to set the following labels: kubernetes.io/role")
		}
		return false, nil, nil
	})
	client.PrependReactor("update", "nodes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		changed := a.(clienttesting.UpdateAction).GetObject().(*corev1.Node)
		was, err := client.Tracker().Get(corev1.SchemeGroupVersion.WithResource("nodes"), "", changed.Name)
		require.NoError(t, err)
		if !equality.Semantic.DeepEqual(was.(*corev1.Node).Spec.Taints, changed.Spec.Taints) {
			return refuse("is not allowed to modify taints")
		}
		return false, nil, nil
	})
	return client
}

func TestANodeRegistersWhereNodesAreRestricted(t *testing.T) {
	ours, outage := config.DefaultTaint(), corev1.Taint{Key: "node.kubernetes.io/unreachable", Effect: corev1.TaintEffectNoExecute}
	there := func(taints ...corev1.Taint) *corev1.Node {
		return &corev1.Node{ObjectMeta: virtual(), Spec: corev1.NodeSpec{Taints: taints}}
	}
	tests := map[string]struct {
		client *fake.Clientset
		want   []corev1.Taint
	}{
		"for the first time":                            {restricted(t), []corev1.Taint{ours}},
		"after an outage that the cluster tainted":      {restricted(t, there(ours, outage)), []corev1.Taint{ours, outage}},
		"with the taints that an administrator gave it": {restricted(t, there(outage)), []corev1.Taint{outage}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := newReporter(tt.client, &vch{}, ours).register(t.Context())
			require.NoError(t, err)
			got, err := tt.client.CoreV1().Nodes().Get(t.Context(), "v", metav1.GetOptions{})
			require.NoError(t, err)
			assert.Equal(t, tt.want, got.Spec.Taints)
		})
	}
}

func TestARoleThatAFormerVersionSetIsLeftAsItIs(t *testing.T) {
	const applied = "virtual-kubelet.io/last-applied-object-meta"
	node := func(labels string) *corev1.Node {
		meta := virtual()
		meta.Annotations = map[string]string{applied: `{"labels":` + labels + `}`}
		return &corev1.Node{ObjectMeta: meta}
	}
	for labels, forgotten := range map[string]bool{`{"type":"virtual-kubelet","kubernetes.io/role":"agent"}`: true, `{"type":"virtual-kubelet"}`: false} {
		client := restricted(t, node(labels))
		_, err := newReporter(client, &vch{}).register(t.Context())
		require.NoError(t, err)
		got, err := client.CoreV1().Nodes().Get(t.Context(), "v", metav1.GetOptions{})
		require.NoError(t, err)
		if forgotten {
			assert.NotContains(t, got.Annotations, applied, "else Virtual Kubelet takes it away, which is refused")
		} else {
			assert.Contains(t, got.Annotations, applied)
		}
	}
}

func TestANodeThatIsMadeAnewGetsItsTaints(t *testing.T) {
	client := fake.NewClientset(&corev1.Node{ObjectMeta: virtual()})
	r := newReporter(client, &vch{}, config.DefaultTaint())
	r.NotifyNodeStatus(t.Context(), func(*corev1.Node) {})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		r.run(ctx)
	}()
	r.madeAnew()
	require.Eventually(t, func() bool {
		got, err := client.CoreV1().Nodes().Get(t.Context(), "v", metav1.GetOptions{})
		return err == nil && len(got.Spec.Taints) == 1
	}, timeout, poll)
	cancel()
	<-done
}

func TestRecreate(t *testing.T) {
	t.Run("a deleted node comes back", func(t *testing.T) {
		client := fake.NewClientset()
		require.NoError(t, newReporter(client, &vch{}).recreate(t.Context(), apierrors.NewNotFound(corev1.Resource("nodes"), "v")))
		_, err := client.CoreV1().Nodes().Get(t.Context(), "v", metav1.GetOptions{})
		require.NoError(t, err)
	})
	t.Run("another failure is returned as it was", func(t *testing.T) {
		client, cause := fake.NewClientset(), errors.New("away")
		require.Equal(t, cause, newReporter(client, &vch{}).recreate(t.Context(), cause))
		assert.Empty(t, client.Actions())
	})
}

func TestReporterPushesWhatChanges(t *testing.T) {
	host := &vch{}
	r := newReporter(fake.NewClientset(), host)
	pushed := make(chan *corev1.Node, 10)
	r.NotifyNodeStatus(t.Context(), func(n *corev1.Node) { pushed <- n })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		r.run(ctx)
	}()
	readyWhere := func(want corev1.ConditionStatus, reason string) {
		t.Helper()
		require.Eventually(t, func() bool {
			select {
			case n := <-pushed:
				c := conditionOf(t, n, corev1.NodeReady)
				return c.Status == want && c.Reason == reason
			default:
				return false
			}
		}, timeout, poll)
	}
	r.set(health{ready: true, reason: "Up"})
	readyWhere(corev1.ConditionTrue, "Up")

	host.set(portlayer.Capacity{}, errors.New("no route"))
	r.kick(false)
	readyWhere(corev1.ConditionFalse, "VCHUnreachable")

	host.set(portlayer.Capacity{}, nil)
	r.kick(false)
	readyWhere(corev1.ConditionTrue, "Up")

	r.set(health{reason: "NodeShutdown"})
	readyWhere(corev1.ConditionFalse, "NodeShutdown")

	r.kick(false)
	cancel()
	<-done
	assert.Empty(t, pushed, "nothing is pushed without news")
}

func TestReporterEndsThoughNobodyTakesItsNews(t *testing.T) {
	r := newReporter(fake.NewClientset(), &vch{})
	never := make(chan struct{})
	t.Cleanup(func() { close(never) })
	r.NotifyNodeStatus(t.Context(), func(*corev1.Node) { <-never })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.run(ctx)
}

func TestPingIsAnsweredWhileTheProgramRuns(t *testing.T) {
	r := newReporter(fake.NewClientset(), &vch{err: errors.New("away")})
	require.NoError(t, r.Ping(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Ping(ctx), context.Canceled)
}
