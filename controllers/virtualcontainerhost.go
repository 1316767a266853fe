package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// Finalizer keeps a VirtualContainerHost until its node is gone.
	Finalizer = "vic.virtual-kubelet.io/node"
	// observeInterval is how often the status gets capacity and use.
	observeInterval = 30 * time.Second
)

// VirtualContainerHosts serves each VirtualContainerHost as a node.
type VirtualContainerHosts struct {
	// Client reads objects as they were seen, and writes them.
	Client client.Client
	// API reads them as they are: what is drained must not be missed.
	API         client.Reader
	Credentials CredentialSecrets
	Nodes       Nodes
	// Version is the one that the status shows.
	Version string
}

// Reconcile brings one of them up to date.
func (r *VirtualContainerHosts) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var vch v1alpha1.VirtualContainerHost
	if err := r.Client.Get(ctx, req.NamespacedName, &vch); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	ctx = logging.With(ctx, "vch", vch.Name)
	if !vch.DeletionTimestamp.IsZero() {
		return r.delete(ctx, &vch)
	}
	if controllerutil.AddFinalizer(&vch, Finalizer) {
		if err := r.Client.Update(ctx, &vch); err != nil {
			return ctrl.Result{}, fmt.Errorf("add finalizer to VCH %s: %w", vch.Name, err)
		}
	}
	served := r.serve(ctx, &vch)
	return ctrl.Result{RequeueAfter: observeInterval}, r.writeStatus(ctx, &vch, accepted(served))
}

// serve returns what is wrong with the spec or its credentials.
func (r *VirtualContainerHosts) serve(ctx context.Context, vch *v1alpha1.VirtualContainerHost) error {
	if !r.Nodes.Known(vch.Name) {
		if _, err := r.registered(ctx, vch); err != nil {
			return err
		}
	}
	credentials, err := r.credentials(ctx, vch)
	if err != nil {
		return err
	}
	return r.Nodes.Serve(ctx, vch, credentials)
}

// registered reports whether the VCH has its node. config.ErrForeignNode.
func (r *VirtualContainerHosts) registered(ctx context.Context, vch *v1alpha1.VirtualContainerHost) (bool, error) {
	var node corev1.Node
	err := r.API.Get(ctx, client.ObjectKey{Name: vch.Node()}, &node)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for node %s: %w", vch.Node(), err)
	}
	if err := config.CheckOwnNode(node.Labels, string(vch.UID)); err != nil {
		return false, fmt.Errorf("spec.nodeName %s: %w", vch.Node(), err)
	}
	return true, nil
}

// credentials are those of the VCH's vCenter; a VCH without one is refused by those who serve it.
func (r *VirtualContainerHosts) credentials(ctx context.Context, vch *v1alpha1.VirtualContainerHost) (Credentials, error) {
	if vch.Spec.VSphere == nil {
		return Credentials{}, nil
	}
	credentials, err := r.Credentials.Read(ctx, vch.Spec.VSphere.CredentialsSecret)
	if err != nil {
		return Credentials{}, fmt.Errorf("spec.%w", err)
	}
	return credentials, nil
}

// writeStatus writes the status, with conditions beside Ready.
func (r *VirtualContainerHosts) writeStatus(ctx context.Context, vch *v1alpha1.VirtualContainerHost, conditions ...metav1.Condition) error {
	before := vch.Status.DeepCopy()
	s := &vch.Status
	s.NodeName, s.Version = vch.Node(), r.Version
	observed, known := r.Nodes.Observe(ctx, vch.Name)
	if observed.Capacity != nil {
		s.Capacity, s.InUse = observed.Capacity, observed.InUse
	}
	ready, err := r.ready(ctx, vch, observed, known)
	if err != nil {
		return err
	}
	for _, c := range append(conditions, ready) {
		c.ObservedGeneration = vch.Generation
		meta.SetStatusCondition(&s.Conditions, c)
	}
	if equality.Semantic.DeepEqual(before, s) {
		return nil
	}
	if err := r.Client.Status().Update(ctx, vch); err != nil {
		return fmt.Errorf("write status of VCH %s: %w", vch.Name, err)
	}
	return nil
}

func accepted(err error) metav1.Condition {
	if err == nil {
		return metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionTrue, Reason: "Served", Message: "the spec is served"}
	}
	return metav1.Condition{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse, Reason: "Refused", Message: err.Error()}
}

// ready is the node's own condition, where it has one that is of now.
func (r *VirtualContainerHosts) ready(ctx context.Context, vch *v1alpha1.VirtualContainerHost, o Observed, known bool) (metav1.Condition, error) {
	c := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse}
	if !o.Open {
		c.Reason, c.Message = closed(o.Err, known)
		return c, nil
	}
	var node corev1.Node
	err := r.Client.Get(ctx, client.ObjectKey{Name: vch.Node()}, &node)
	if err != nil {
		c.Reason, c.Message = "NodeMissing", "the node is not registered yet"
		return c, client.IgnoreNotFound(err)
	}
	for _, n := range node.Status.Conditions {
		if n.Type == corev1.NodeReady {
			c.Status, c.Reason, c.Message = metav1.ConditionStatus(n.Status), n.Reason, n.Message
		}
	}
	if c.Reason == "" {
		c.Reason, c.Message = "NodeUnknown", "the node has no condition Ready yet"
	}
	return c, nil
}

// closed says why a node is not open.
func closed(err error, known bool) (reason, message string) {
	switch {
	case !known:
		return "NotServed", "there is no node"
	case err != nil:
		return "OpenFailed", err.Error()
	}
	return "Opening", "the VCH is being opened"
}
