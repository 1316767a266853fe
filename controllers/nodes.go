package controllers

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
)

// Observed is what is known of a VCH that is served.
type Observed struct {
	// Open is set while the node is open; Err says why not, where that is known.
	Open bool
	Err  error
	// Capacity is what the node offers, and InUse what pod VMs have of it. They are nil where vCenter does not answer.
	Capacity, InUse corev1.ResourceList
}

// Nodes are the nodes that this process serves, by the name of the VCH.
type Nodes interface {
	// Serve has the VCH be a node with the label OwnerLabel. It returns soon; what becomes of it is Observed. An error refuses the spec as it is, or
	// the change to it: the node goes on as it was.
	Serve(ctx context.Context, vch *v1alpha1.VirtualContainerHost, credentials Credentials) error
	// Known reports whether a VCH is served, or being tried.
	Known(name string) bool
	// Observe returns what is known of a VCH; false where it is not served.
	Observe(ctx context.Context, name string) (Observed, bool)
	// Remove ends the node, removes the VMs that are left on it, and forgets it.
	Remove(ctx context.Context, name string) error
	// Abandon ends the node and forgets it. VMs run on.
	Abandon(ctx context.Context, name string) error
}
