package provider

import (
	"context"
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

// register makes the Node object, or takes over one that is there: Virtual Kubelet brings its status and labels up to
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
		r.adopt(there)
		taints := mergeTaints(there.Spec.Taints, r.desc.Taints)
		if equality.Semantic.DeepEqual(taints, there.Spec.Taints) {
			return nil
		}
		there.Spec.Taints = taints
		_, err = r.api.Update(ctx, there, metav1.UpdateOptions{})
		return err //nolint:wrapcheck // as above
	})
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

// mergeTaints puts ours in the place of what a former run of ours set, and leaves the rest.
func mergeTaints(there, ours []corev1.Taint) []corev1.Taint {
	merged := slices.DeleteFunc(slices.Clone(there), func(t corev1.Taint) bool {
		return t.Key == config.TaintKey || slices.ContainsFunc(ours, func(o corev1.Taint) bool { return o.MatchTaint(&t) })
	})
	return append(merged, ours...)
}
