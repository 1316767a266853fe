package controllers_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/controllers"
	controllersmocks "github.com/virtual-kubelet/vic/mocks/controllers"
)

const (
	namespace = "vic-system"
	name      = "pool"
)

// bench is a reconciler with an API server that is a map, and nodes that are a mock.
type bench struct {
	client.Client
	nodes      *controllersmocks.Nodes
	reconciler *controllers.VirtualContainerHosts
	evict      error // what an eviction comes to
}

func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	scheme := runtime.NewScheme()
	require.NoError(t, errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)))
	b := &bench{nodes: controllersmocks.NewNodes(t)}
	b.Client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.VirtualContainerHost{}).
		WithIndex(&corev1.Pod{}, "spec.nodeName", func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		WithInterceptorFuncs(interceptor.Funcs{
			SubResourceCreate: func(ctx context.Context, c client.Client, kind string, o, _ client.Object, _ ...client.SubResourceCreateOption) error {
				require.Equal(t, "eviction", kind)
				if b.evict != nil {
					return b.evict
				}
				return c.Delete(ctx, o)
			},
		}).Build()
	b.reconciler = &controllers.VirtualContainerHosts{
		Client: b, API: b, Nodes: b.nodes, Version: "v1",
		Credentials: controllers.CredentialSecrets{Reader: b, Namespace: namespace},
	}
	return b
}

// reconcile calls Reconcile once, which has no error.
func (b *bench) reconcile(t *testing.T) ctrl.Result {
	t.Helper()
	result, err := b.reconciler.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Name: name}})
	require.NoError(t, err)
	return result
}

// get returns the VCH as it is; nil where it is gone.
func (b *bench) get(t *testing.T) *v1alpha1.VirtualContainerHost {
	t.Helper()
	var vch v1alpha1.VirtualContainerHost
	err := b.Get(t.Context(), client.ObjectKey{Name: name}, &vch)
	if apierrors.IsNotFound(err) {
		return nil
	}
	require.NoError(t, err)
	return &vch
}

func (b *bench) requireCondition(t *testing.T, kind string, status metav1.ConditionStatus, reason, words string) {
	t.Helper()
	vch := b.get(t)
	require.NotNil(t, vch)
	c := meta.FindStatusCondition(vch.Status.Conditions, kind)
	require.NotNil(t, c, kind)
	assert.Equal(t, status, c.Status, c.Message)
	assert.Equal(t, reason, c.Reason)
	assert.Contains(t, c.Message, words)
}

func vch(change ...func(*v1alpha1.VirtualContainerHost)) *v1alpha1.VirtualContainerHost {
	v := &v1alpha1.VirtualContainerHost{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: "u-1", Generation: 3, Finalizers: []string{controllers.Finalizer}},
		Spec:       config.VCH{VSphere: &config.VSphere{CredentialsSecret: "vcenter"}},
	}
	for _, c := range change {
		c(v)
	}
	return v
}

func secret(change ...func(*corev1.Secret)) *corev1.Secret {
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "vcenter"},
		Data:       map[string][]byte{"username": []byte("u"), "password": []byte("p\n"), "ca.crt": []byte("ca")},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

func node(change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"type": "virtual-kubelet", config.OwnerLabel: "u-1"}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{
			{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "VCHReady", Message: "the VCH runs pods"},
		}},
	}
	for _, c := range change {
		c(n)
	}
	return n
}

func podOn(podName string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: podName}, Spec: corev1.PodSpec{NodeName: name}}
	for _, c := range change {
		c(p)
	}
	return p
}

func deleted(policy config.DeletionPolicy) func(*v1alpha1.VirtualContainerHost) {
	return func(v *v1alpha1.VirtualContainerHost) {
		now := metav1.Now()
		v.DeletionTimestamp, v.Spec.DeletionPolicy = &now, policy
	}
}

// served has the nodes say that the VCH is one of them, and open.
func (b *bench) served() {
	b.nodes.EXPECT().Known(name).Return(true).Maybe()
	b.nodes.EXPECT().Observe(mock.Anything, name).Return(controllers.Observed{
		Open: true, Capacity: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("110")},
		InUse: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("2")},
	}, true).Maybe()
	b.nodes.EXPECT().Serve(mock.Anything, mock.Anything, mock.Anything).Return(nil).Maybe()
}

func TestAVCHIsServedWithItsCredentialsAsTheyAre(t *testing.T) {
	b := newBench(t, vch(func(v *v1alpha1.VirtualContainerHost) { v.Finalizers = nil }), secret(), node())
	b.nodes.EXPECT().Known(name).Return(false)
	b.nodes.EXPECT().Observe(mock.Anything, name).Return(controllers.Observed{
		Open: true, Capacity: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("110")},
		InUse: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("2")},
	}, true)
	var got controllers.Credentials
	b.nodes.EXPECT().Serve(mock.Anything, mock.Anything, mock.Anything).
		RunAndReturn(func(_ context.Context, _ *v1alpha1.VirtualContainerHost, c controllers.Credentials) error {
			got = c
			return nil
		})

	result := b.reconcile(t)
	assert.Positive(t, result.RequeueAfter, "capacity is kept current")
	v := b.get(t)
	assert.Contains(t, v.Finalizers, controllers.Finalizer)
	assert.Equal(t, name, v.Status.NodeName)
	assert.Equal(t, "v1", v.Status.Version)
	assert.EqualValues(t, 110, v.Status.Capacity.Pods().Value())
	assert.EqualValues(t, 2, v.Status.InUse.Pods().Value())
	b.requireCondition(t, v1alpha1.ConditionAccepted, metav1.ConditionTrue, "Served", "")
	b.requireCondition(t, v1alpha1.ConditionReady, metav1.ConditionTrue, "VCHReady", "runs pods")

	assert.Equal(t, "u", got.Username)
	assert.Equal(t, []byte("ca"), got.CA)
	password, err := got.Password(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "p", password, "without the end of its line")
	require.NoError(t, b.Update(t.Context(), secret(func(s *corev1.Secret) { s.Data["password"] = []byte("new") })))
	password, err = got.Password(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "new", password, "it is read again before each login")
}

func TestAWrongSpecIsExplained(t *testing.T) {
	refused := func(b *bench) {
		b.nodes.EXPECT().Serve(mock.Anything, mock.Anything, mock.Anything).Return(errors.New("resource pool: not found"))
	}
	for what, tt := range map[string]struct {
		objects []client.Object
		expect  func(*bench)
		says    string
	}{
		"no secret":                 {[]client.Object{vch()}, nil, `"vcenter" not found`},
		"a secret without a user":   {[]client.Object{vch(), secret(func(s *corev1.Secret) { delete(s.Data, "username") })}, nil, "has no username"},
		"a secret with no password": {[]client.Object{vch(), secret(func(s *corev1.Secret) { s.Data["password"] = nil })}, nil, "has no password"},
		"a change that is refused":  {[]client.Object{vch(), secret()}, refused, "resource pool: not found"},
		"somebody else's node":      {[]client.Object{vch(), secret(), node(func(n *corev1.Node) { n.Labels = nil })}, nil, "not this VCH's"},
		"another VCH's node":        {[]client.Object{vch(), secret(), node(func(n *corev1.Node) { n.Labels[config.OwnerLabel] = "u-2" })}, nil, `"u-2"`},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t, tt.objects...)
			b.nodes.EXPECT().Known(name).Return(false)
			b.nodes.EXPECT().Observe(mock.Anything, name).Return(controllers.Observed{}, false)
			if tt.expect != nil {
				tt.expect(b)
			}
			assert.Positive(t, b.reconcile(t).RequeueAfter)
			b.requireCondition(t, v1alpha1.ConditionAccepted, metav1.ConditionFalse, "Refused", tt.says)
		})
	}
}

func TestReadySaysHowFarTheNodeHasCome(t *testing.T) {
	for what, tt := range map[string]struct {
		observed controllers.Observed
		known    bool
		node     *corev1.Node
		reason   string
	}{
		"not served":     {reason: "NotServed"},
		"being opened":   {known: true, reason: "Opening"},
		"failing":        {known: true, observed: controllers.Observed{Err: errors.New("no vCenter")}, reason: "OpenFailed"},
		"not registered": {known: true, observed: controllers.Observed{Open: true}, reason: "NodeMissing"},
		"without a word": {known: true, observed: controllers.Observed{Open: true}, node: node(func(n *corev1.Node) { n.Status = corev1.NodeStatus{} }), reason: "NodeUnknown"},
		"unwell": {known: true, observed: controllers.Observed{Open: true}, node: node(func(n *corev1.Node) {
			n.Status.Conditions[0].Status, n.Status.Conditions[0].Reason = corev1.ConditionFalse, "VCHUnreachable"
		}), reason: "VCHUnreachable"},
	} {
		t.Run(what, func(t *testing.T) {
			objects := []client.Object{vch(), secret()}
			if tt.node != nil {
				objects = append(objects, tt.node)
			}
			b := newBench(t, objects...)
			b.nodes.EXPECT().Known(name).Return(tt.known)
			b.nodes.EXPECT().Observe(mock.Anything, name).Return(tt.observed, tt.known)
			b.nodes.EXPECT().Serve(mock.Anything, mock.Anything, mock.Anything).Return(nil)
			b.reconcile(t)
			b.requireCondition(t, v1alpha1.ConditionReady, metav1.ConditionFalse, tt.reason, "")
		})
	}
}

func TestADeletedVCHRefusesToGoWhilePodsRun(t *testing.T) {
	daemon := func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Name: "d", Controller: new(true)}}
	}
	done := func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
	b := newBench(t, vch(deleted(config.DeletionRefuse)), secret(), node(), podOn("web"), podOn("daemon", daemon), podOn("done", done))
	b.served()

	assert.Positive(t, b.reconcile(t).RequeueAfter)
	b.requireCondition(t, v1alpha1.ConditionRemovable, metav1.ConditionFalse, "PodsRunning", "default/web;")
	var n corev1.Node
	require.NoError(t, b.Get(t.Context(), client.ObjectKey{Name: name}, &n))
	assert.True(t, n.Spec.Unschedulable, "the node is cordoned")

	require.NoError(t, b.Delete(t.Context(), podOn("web")))
	b.nodes.EXPECT().Remove(mock.Anything, name).Return(nil).Once()
	b.reconcile(t)
	assert.Nil(t, b.get(t))
	require.True(t, apierrors.IsNotFound(b.Get(t.Context(), client.ObjectKey{Name: name}, &n)), "the node is gone")
}

func TestADeletedVCHIsDrained(t *testing.T) {
	b := newBench(t, vch(deleted(config.DeletionDrain)), secret(), node(), podOn("a"), podOn("b"), podOn("c"), podOn("d"))
	b.served()
	b.evict = apierrors.NewTooManyRequests("disruption budget", 10)
	b.reconcile(t)
	b.requireCondition(t, v1alpha1.ConditionRemovable, metav1.ConditionFalse, "Draining", "disruption budget")
	b.evict = nil
	b.reconcile(t)
	b.requireCondition(t, v1alpha1.ConditionRemovable, metav1.ConditionFalse, "Draining", "default/a, default/b, default/c and 1 more")
	b.nodes.EXPECT().Remove(mock.Anything, name).Return(nil).Once()
	b.reconcile(t)
	assert.Nil(t, b.get(t))
}

// gone is an API server that has nothing, where a cache still has the VCH.
type gone struct{ client.Reader }

func (gone) Get(context.Context, client.ObjectKey, client.Object, ...client.GetOption) error {
	return apierrors.NewNotFound(v1alpha1.GroupVersion.WithResource("virtualcontainerhosts").GroupResource(), name)
}

func TestAVCHThatIsGoneIsNotServedAgain(t *testing.T) {
	b := newBench(t, vch(deleted(config.DeletionDrain)), secret(), node())
	b.reconciler.API = gone{}
	assert.Zero(t, b.reconcile(t).RequeueAfter, "and no node is asked for anything")
}

func TestAnOrphaningVCHGoesAtOnce(t *testing.T) {
	b := newBench(t, vch(deleted(config.DeletionOrphan)), node(), podOn("a"))
	b.nodes.EXPECT().Abandon(mock.Anything, name).Return(nil).Once()
	b.reconcile(t)
	assert.Nil(t, b.get(t))
}

func TestADeletedVCHThatCannotBeReachedStays(t *testing.T) {
	b := newBench(t, vch(deleted(config.DeletionDrain)), secret(), node())
	b.served()
	b.nodes.EXPECT().Remove(mock.Anything, name).Return(errors.New("no vCenter"))
	b.reconcile(t)
	b.requireCondition(t, v1alpha1.ConditionRemovable, metav1.ConditionFalse, "Unreachable", "Orphan")
}

func TestADeletedVCHThatNeverWasANodeGoes(t *testing.T) {
	b := newBench(t, vch(deleted(config.DeletionRefuse)))
	b.nodes.EXPECT().Known(name).Return(false)
	b.nodes.EXPECT().Abandon(mock.Anything, name).Return(nil).Once()
	b.reconcile(t)
	assert.Nil(t, b.get(t))
}

func TestANodeOfSomebodyElseIsNeverTouched(t *testing.T) {
	for _, policy := range []config.DeletionPolicy{config.DeletionRefuse, config.DeletionDrain, config.DeletionOrphan} {
		t.Run(string(policy), func(t *testing.T) {
			foreign := node(func(n *corev1.Node) { n.Labels = nil })
			b := newBench(t, vch(deleted(policy)), secret(), foreign, podOn("web"))
			b.nodes.EXPECT().Abandon(mock.Anything, name).Return(nil).Once()
			b.reconcile(t)
			assert.Nil(t, b.get(t), "the object goes")
			var n corev1.Node
			require.NoError(t, b.Get(t.Context(), client.ObjectKey{Name: name}, &n))
			assert.False(t, n.Spec.Unschedulable)
			require.NoError(t, b.Get(t.Context(), client.ObjectKeyFromObject(podOn("web")), &corev1.Pod{}))
		})
	}
}

func TestADeletedVCHIsDrainedWithoutItsSecret(t *testing.T) {
	b := newBench(t, vch(deleted(config.DeletionDrain)), node(), podOn("a"))
	b.served()
	b.reconcile(t)
	b.requireCondition(t, v1alpha1.ConditionRemovable, metav1.ConditionFalse, "Draining", "default/a")
	b.nodes.EXPECT().Remove(mock.Anything, name).Return(nil).Once()
	b.reconcile(t)
	assert.Nil(t, b.get(t))
}

func TestAVCHThatWasANodeIsNotGivenUpWithItsVMs(t *testing.T) {
	b := newBench(t, vch(deleted(config.DeletionDrain), func(v *v1alpha1.VirtualContainerHost) {
		v.Status.Capacity = corev1.ResourceList{corev1.ResourcePods: resource.MustParse("110")}
	}), secret())
	b.served()
	b.nodes.EXPECT().Remove(mock.Anything, name).Return(errors.New("no vCenter"))
	b.reconcile(t)
	b.requireCondition(t, v1alpha1.ConditionRemovable, metav1.ConditionFalse, "Unreachable", "no vCenter")
}

func TestANodeThatIsMadeAnewMeanwhileIsNotDeleted(t *testing.T) {
	var precondition *types.UID
	c := fake.NewClientBuilder().WithObjects(node(func(n *corev1.Node) { n.UID = "n-1" })).WithInterceptorFuncs(interceptor.Funcs{
		Delete: func(_ context.Context, _ client.WithWatch, _ client.Object, opts ...client.DeleteOption) error {
			var all client.DeleteOptions
			precondition = all.ApplyOptions(opts).Preconditions.UID
			return nil
		},
	}).Build()
	d := controllers.Drainer{Client: c, API: c, Owner: "u-1"}
	require.NoError(t, d.DeleteNode(t.Context(), name))
	require.Equal(t, new(types.UID("n-1")), precondition, "the API server refuses to delete one of another UID")
}
