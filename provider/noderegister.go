package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// lastApplied is where Virtual Kubelet keeps the labels and annotations that it has set last.
	lastApplied = "virtual-kubelet.io/last-applied-object-meta"
	// roleLabel is what former versions gave every node, and NodeRestriction refuses.
	roleLabel = "kubernetes.io/role"
)

// register makes the Node object, or takes over one that is there and ours: Virtual Kubelet brings its status and labels up to
// date, and never its taints.
func (r *nodeReporter) register(ctx context.Context) (*corev1.Node, error) {
	n, _ := r.observe(ctx)
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		there, err := r.api.Get(ctx, r.name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return r.create(ctx, n)
		}
		if err != nil {
			return err //nolint:wrapcheck // RetryOnConflict looks at it
		}
		if err := r.checkClaim(ctx, there); err != nil {
			return err
		}
		r.adopt(there)
		if there, err = r.disown(ctx, there, n.Labels); err != nil {
			return err
		}
		return r.taint(ctx, there)
	})
	if refused(err) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("register node %s: %w", r.name, err)
	}
	n, _ = r.observe(ctx)
	return n, nil
}

// adopt remembers since when the conditions of a former run hold, and what was reported of them.
func (r *nodeReporter) adopt(there *corev1.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = there
	r.events.adopt(there, r.desc.BootID)
}

// disown leaves the role that a former version gave the node to whoever wants it: a node may not take it away
// (NodeRestriction), and Virtual Kubelet takes away what it has set itself and should not be there.
func (r *nodeReporter) disown(ctx context.Context, there *corev1.Node, wanted map[string]string) (*corev1.Node, error) {
	var applied metav1.ObjectMeta
	_ = json.Unmarshal([]byte(there.Annotations[lastApplied]), &applied) // what can't be read is Virtual Kubelet's to complain about
	if _, set := applied.Labels[roleLabel]; !set || wanted[roleLabel] != "" {
		return there, nil
	}
	delete(there.Annotations, lastApplied)
	return r.api.Update(ctx, there, metav1.UpdateOptions{}) //nolint:wrapcheck // RetryOnConflict looks at it
}

// taint gives a node that is there our taints. A cluster may leave those of registered nodes to administrators
// (NodeRestriction); then the node is served with the taints that it has, as a kubelet's is.
func (r *nodeReporter) taint(ctx context.Context, there *corev1.Node) error {
	taints := mergeTaints(there.Spec.Taints, r.desc.Taints)
	if equality.Semantic.DeepEqual(taints, there.Spec.Taints) {
		return nil
	}
	there.Spec.Taints = taints
	_, err := r.api.Update(ctx, there, metav1.UpdateOptions{})
	if apierrors.IsForbidden(err) {
		logging.From(ctx).WarnContext(ctx, "taints not changed, which an administrator may do", "err", err)
		return nil
	}
	return err //nolint:wrapcheck // RetryOnConflict looks at it
}

func (r *nodeReporter) create(ctx context.Context, n *corev1.Node) error {
	if _, err := r.api.Create(ctx, n, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err //nolint:wrapcheck // the callers wrap
	}
	return nil
}

// recreate brings back a node that someone has deleted; any other failure of a status is returned as it was.
func (r *nodeReporter) recreate(ctx context.Context, cause error) error {
	if !apierrors.IsNotFound(cause) {
		return cause
	}
	n, _ := r.observe(ctx)
	if err := r.create(ctx, n); err != nil {
		return errors.Join(cause, fmt.Errorf("create deleted node %s: %w", r.name, err))
	}
	logging.From(ctx).WarnContext(ctx, "deleted node created again", "op", "node")
	return nil
}

// retaint gives a node that was made anew its taints, which Virtual Kubelet leaves as they are.
func (r *nodeReporter) retaint(ctx context.Context) {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		there, err := r.api.Get(ctx, r.name, metav1.GetOptions{})
		if err != nil {
			return err //nolint:wrapcheck // RetryOnConflict looks at it
		}
		if err := r.checkClaim(ctx, there); err != nil {
			return err
		}
		return r.taint(ctx, there)
	})
	if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
		logging.From(ctx).WarnContext(ctx, "taints not changed", "err", err)
	}
}

// mergeTaints puts ours in the place of what a former run of ours set, and leaves the rest. Those that are right stay where
// they are: the order says nothing, and who may not change taints may not change that either.
func mergeTaints(there, ours []corev1.Taint) []corev1.Taint {
	merged := slices.DeleteFunc(slices.Clone(there), func(t corev1.Taint) bool {
		own := t.Key == config.TaintKey || slices.ContainsFunc(ours, func(o corev1.Taint) bool { return o.MatchTaint(&t) })
		return own && !slices.ContainsFunc(ours, sameTaint(t))
	})
	for _, o := range ours {
		if !slices.ContainsFunc(merged, sameTaint(o)) {
			merged = append(merged, o)
		}
	}
	return merged
}

// sameTaint compares with a taint, but for the time when it was added.
func sameTaint(a corev1.Taint) func(corev1.Taint) bool {
	return func(b corev1.Taint) bool { return a.MatchTaint(&b) && a.Value == b.Value }
}
