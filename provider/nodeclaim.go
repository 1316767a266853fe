package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
)

// shutdownReason is that of a node whose process is about to end.
const shutdownReason = "NodeShutdown"

// errServedElsewhere says that another machine serves a node of that name now.
var errServedElsewhere = errors.New("another machine serves a node of that name")

// claim waits until the API server says that the node may be served by this process. Until then none of the pods that are
// bound to it may run here: they may run elsewhere. The error is config.ErrForeignNode or errServedElsewhere.
func (n *Node) claim(ctx context.Context) error {
	for ctx.Err() == nil {
		err := n.reporter.mayServe(ctx)
		if err == nil || refused(err) {
			return err
		}
		logging.From(ctx).WarnContext(ctx, "node not registered", "err", err)
		_ = wait.For(ctx, registerRetry) // it ends with ctx, and so does this
	}
	return nil
}

// refused says that no retry of this process mends an error.
func refused(err error) bool {
	return errors.Is(err, config.ErrForeignNode) || errors.Is(err, errServedElsewhere)
}

func (r *nodeReporter) mayServe(ctx context.Context) error {
	there, err := r.api.Get(ctx, r.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for node %s: %w", r.name, err)
	}
	return r.checkClaim(ctx, there)
}

// checkClaim refuses a Node that is not ours to serve.
func (r *nodeReporter) checkClaim(ctx context.Context, there *corev1.Node) error {
	if err := config.CheckOwnNode(there.Labels, r.desc.Labels[config.OwnerLabel]); err != nil {
		return fmt.Errorf("node %s: %w; choose another name, or delete that Node", r.name, err)
	}
	if r.leases == nil || !r.ofAnotherMachine(there) {
		return nil
	}
	lease, err := r.leases.Get(ctx, r.name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the lease of node %s: %w", r.name, err)
	}
	renewed, seconds := lease.Spec.RenewTime, lease.Spec.LeaseDurationSeconds
	if renewed == nil || seconds == nil || time.Since(renewed.Time) > time.Duration(*seconds)*time.Second {
		return nil
	}
	return fmt.Errorf("node %s: %w: the one with machine ID %s and system UUID %s at %s; give each machine a name of its own. "+
		"If that machine is gone, its lease ends %d s after %s", r.name, errServedElsewhere,
		there.Status.NodeInfo.MachineID, there.Status.NodeInfo.SystemUUID, addressOf(there), *seconds, renewed.UTC().Format(time.RFC3339))
}

// ofAnotherMachine reports whether another machine has served the node last, and has not said that it ends.
func (r *nodeReporter) ofAnotherMachine(there *corev1.Node) bool {
	if hasShutDown(there) {
		return false
	}
	other := func(was, is string) bool { return was != "" && is != "" && was != is }
	info := there.Status.NodeInfo
	return other(info.MachineID, r.desc.MachineID) || other(info.SystemUUID, r.desc.SystemUUID)
}

// hasShutDown reports whether whoever served a node last has said that it ends.
func hasShutDown(n *corev1.Node) bool {
	return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool {
		return c.Type == corev1.NodeReady && c.Reason == shutdownReason
	})
}

func addressOf(n *corev1.Node) string {
	for _, a := range n.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			return a.Address
		}
	}
	return "an unknown address"
}
