package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// drainInterval is how often a node that is to go is looked at.
const drainInterval = 5 * time.Second

// delete takes the node away as the deletion policy says, and lets the object go.
func (r *VirtualContainerHosts) delete(ctx context.Context, vch *v1alpha1.VirtualContainerHost) (ctrl.Result, error) {
	// What was seen may be older than its end, after which it must not be served again.
	if err := r.API.Get(ctx, client.ObjectKeyFromObject(vch), vch); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !controllerutil.ContainsFinalizer(vch, Finalizer) {
		return ctrl.Result{}, nil
	}
	err := r.end(ctx, vch)
	if o, ok := errors.AsType[*obstacle](err); ok {
		removable := metav1.Condition{Type: v1alpha1.ConditionRemovable, Status: metav1.ConditionFalse, Reason: o.reason, Message: o.message}
		return ctrl.Result{RequeueAfter: drainInterval}, r.writeStatus(ctx, vch, removable)
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	controllerutil.RemoveFinalizer(vch, Finalizer)
	if err := r.Client.Update(ctx, vch); client.IgnoreNotFound(err) != nil {
		return ctrl.Result{}, fmt.Errorf("remove finalizer of VCH %s: %w", vch.Name, err)
	}
	logging.From(ctx).InfoContext(ctx, "VCH removed", "node", vch.Node())
	return ctrl.Result{}, nil
}

// end takes the node away; an *obstacle says what is waited for. A node that is somebody else's stays as it is.
func (r *VirtualContainerHosts) end(ctx context.Context, vch *v1alpha1.VirtualContainerHost) error {
	drainer := Drainer{Client: r.Client, API: r.API, Owner: string(vch.UID)}
	registered, err := r.registered(ctx, vch)
	if errors.Is(err, config.ErrForeignNode) {
		return r.Nodes.Abandon(ctx, vch.Name)
	}
	if err != nil {
		return err
	}
	if registered {
		if err := drainer.Cordon(ctx, vch.Node()); err != nil {
			return err
		}
	}
	if vch.Spec.DeletionPolicy == config.DeletionOrphan {
		return errors.Join(r.Nodes.Abandon(ctx, vch.Name), drainer.DeleteNode(ctx, vch.Node()))
	}
	never := !registered && vch.Status.Capacity == nil // it never was a node: there is nothing to end
	if !r.Nodes.Known(vch.Name) {
		// A process that has just begun has to see to the end of the pods.
		if err := r.serve(ctx, vch); err != nil && never {
			return r.Nodes.Abandon(ctx, vch.Name)
		} else if err != nil {
			return unreachable(err)
		}
	}
	if err := drainer.Empty(ctx, vch.Node(), vch.Spec.DeletionPolicy == config.DeletionDrain); err != nil {
		return err
	}
	if err := r.Nodes.Remove(ctx, vch.Name); err != nil && never {
		return r.Nodes.Abandon(ctx, vch.Name)
	} else if err != nil {
		return unreachable(err)
	}
	return drainer.DeleteNode(ctx, vch.Node())
}

func unreachable(err error) error {
	return &obstacle{"Unreachable", fmt.Sprintf("%v; with deletionPolicy Orphan the node goes, and VMs stay in vCenter", err)}
}
