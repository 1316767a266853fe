package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
)

// workers is how many VCHs are looked after at a time: one whose vCenter hangs holds up no other.
const workers = 8

// SetUp has the manager call Reconcile for what changes: the objects, their secrets, their nodes, and what the channel names.
func (r *VirtualContainerHosts) SetUp(m ctrl.Manager, changed <-chan event.GenericEvent) error {
	err := ctrl.NewControllerManagedBy(m).
		For(&v1alpha1.VirtualContainerHost{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(r.ofSecret)).
		Watches(&corev1.Node{}, handler.EnqueueRequestsFromMapFunc(r.ofNode), builder.WithPredicates(readiness)).
		WatchesRawSource(source.Channel(changed, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up controller of VCHs: %w", err)
	}
	return nil
}

// readiness lets the changes of a node through that its VCH's status shows.
var readiness = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, okBefore := e.ObjectOld.(*corev1.Node)
	after, okAfter := e.ObjectNew.(*corev1.Node)
	return !okBefore || !okAfter || !equality.Semantic.DeepEqual(readyOf(before), readyOf(after))
}}

// readyOf is what the node's condition says, without its times.
func readyOf(n *corev1.Node) corev1.NodeCondition {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return corev1.NodeCondition{Status: c.Status, Reason: c.Reason, Message: c.Message}
		}
	}
	return corev1.NodeCondition{}
}

func (r *VirtualContainerHosts) ofSecret(ctx context.Context, secret client.Object) []reconcile.Request {
	return r.of(ctx, func(v *v1alpha1.VirtualContainerHost) bool {
		s := v.Spec.VSphere
		return s != nil && s.CredentialsSecret == secret.GetName() && secret.GetNamespace() == r.Credentials.Namespace
	})
}

func (r *VirtualContainerHosts) ofNode(ctx context.Context, node client.Object) []reconcile.Request {
	return r.of(ctx, func(v *v1alpha1.VirtualContainerHost) bool { return v.Node() == node.GetName() })
}

func (r *VirtualContainerHosts) of(ctx context.Context, wanted func(*v1alpha1.VirtualContainerHost) bool) []reconcile.Request {
	var list v1alpha1.VirtualContainerHostList
	if err := r.Client.List(ctx, &list); err != nil {
		return nil // the cache is being filled: each of them comes by itself
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if v := &list.Items[i]; wanted(v) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(v)})
		}
	}
	return requests
}
