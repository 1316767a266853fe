package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// Finalizer keeps a VirtualContainerHost until its node is gone.
	Finalizer = "vic.virtual-kubelet.io/node"
	// observeInterval is how often capacity and use are told.
	observeInterval = 30 * time.Second
)

// NodeTypeLabel has the value NodeType on each node that vic has made; others are never touched.
const (
	NodeTypeLabel = "type"
	NodeType      = "virtual-kubelet"
)

// Keys of a credentials secret.
const (
	keyUsername = "username"
	keyPassword = "password"
	keyCA       = "ca.crt"
)

// VirtualContainerHosts serves each VirtualContainerHost as a node.
type VirtualContainerHosts struct {
	// Client reads objects as they were seen, and writes them.
	Client client.Client
	// API reads them as they are: what is drained must not be missed.
	API client.Reader
	// Namespace has the secrets with credentials.
	Namespace string
	Nodes     Nodes
	// Version is what the status tells.
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
	return ctrl.Result{RequeueAfter: observeInterval}, r.tell(ctx, &vch, accepted(served))
}

// serve returns what is wrong with the spec or its credentials.
func (r *VirtualContainerHosts) serve(ctx context.Context, vch *v1alpha1.VirtualContainerHost) error {
	if _, known := r.Nodes.Observe(ctx, vch.Name); !known {
		if err := r.mayTake(ctx, vch.Node()); err != nil {
			return err
		}
	}
	credentials, err := r.credentials(ctx, vch)
	if err != nil {
		return err
	}
	return r.Nodes.Serve(ctx, vch, credentials)
}

// mayTake refuses the name of a node that is somebody else's.
func (r *VirtualContainerHosts) mayTake(ctx context.Context, name string) error {
	var node corev1.Node
	if err := r.API.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
		return client.IgnoreNotFound(err) //nolint:wrapcheck // it says which node
	}
	if node.Labels[NodeTypeLabel] != NodeType {
		return fmt.Errorf("spec.nodeName: there is a node %s, and it has not the label %s=%s", name, NodeTypeLabel, NodeType)
	}
	return nil
}

func (r *VirtualContainerHosts) credentials(ctx context.Context, vch *v1alpha1.VirtualContainerHost) (Credentials, error) {
	name := vch.Spec.VSphere.CredentialsSecret
	secret, err := r.secret(ctx, name)
	if err != nil {
		return Credentials{}, err
	}
	for _, key := range []string{keyUsername, keyPassword} {
		if len(secret.Data[key]) == 0 {
			return Credentials{}, fmt.Errorf("spec.vsphere.credentialsSecret: Secret %s/%s has no %s", r.Namespace, name, key)
		}
	}
	return Credentials{
		Username: string(secret.Data[keyUsername]), CA: secret.Data[keyCA],
		Password: func(ctx context.Context) (string, error) {
			secret, err := r.secret(ctx, name)
			if err != nil {
				return "", err
			}
			return string(secret.Data[keyPassword]), nil
		},
	}, nil
}

func (r *VirtualContainerHosts) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	var secret corev1.Secret
	if err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: name}, &secret); err != nil {
		return nil, fmt.Errorf("spec.vsphere.credentialsSecret: Secret %s/%s: %w", r.Namespace, name, err)
	}
	return &secret, nil
}

// tell writes the status, with conditions beside Ready.
func (r *VirtualContainerHosts) tell(ctx context.Context, vch *v1alpha1.VirtualContainerHost, conditions ...metav1.Condition) error {
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
