package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/virtual-kubelet/vic/config"
)

// namedPods is how many pods a message names.
const namedPods = 3

// Drainer empties nodes that are to go, and leaves those of others alone (config.ErrForeignNode).
type Drainer struct {
	Client client.Client
	// Owner is the UID of the VirtualContainerHost whose node it is; empty for a VCH of a file.
	Owner string
	// API reads objects as they are, past any cache: no pod must be missed.
	API client.Reader
}

// obstacle is what keeps a node from being removed for now.
type obstacle struct{ reason, message string }

func (o *obstacle) Error() string { return o.message }

// Cordon keeps new pods away from a node; a missing one is not an error.
func (d *Drainer) Cordon(ctx context.Context, name string) error {
	node, err := d.own(ctx, name)
	if err != nil {
		return fmt.Errorf("cordon node %s: %w", name, err)
	}
	if node == nil || node.Spec.Unschedulable {
		return nil
	}
	before := node.DeepCopy()
	node.Spec.Unschedulable = true
	if err := d.Client.Patch(ctx, node, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("cordon node %s: %w", name, err)
	}
	return nil
}

// DeleteNode deletes the object; a missing one is not an error. One that has been made anew since it was looked at stays.
func (d *Drainer) DeleteNode(ctx context.Context, name string) error {
	node, err := d.own(ctx, name)
	if err == nil && node != nil {
		err = client.IgnoreNotFound(d.Client.Delete(ctx, node, client.Preconditions{UID: &node.UID}))
	}
	if err != nil {
		return fmt.Errorf("delete node %s: %w", name, err)
	}
	return nil
}

// own returns the node of that name; nil where there is none.
func (d *Drainer) own(ctx context.Context, name string) (*corev1.Node, error) {
	var node corev1.Node
	if err := d.API.Get(ctx, client.ObjectKey{Name: name}, &node); err != nil {
		return nil, client.IgnoreNotFound(err) //nolint:wrapcheck // the callers wrap
	}
	if err := config.CheckOwnNode(node.Labels, d.Owner); err != nil {
		return nil, err
	}
	return &node, nil
}

// Empty returns an error while there are pods on a node, other than those of DaemonSets and those that have ended. It evicts
// them where evict is set.
func (d *Drainer) Empty(ctx context.Context, node string, evict bool) error {
	pods, err := d.pods(ctx, node)
	if err != nil || len(pods) == 0 {
		return err
	}
	if !evict {
		return &obstacle{"PodsRunning", fmt.Sprintf("pods are on node %s, which is cordoned: %s; delete them, or set deletionPolicy Drain", node, names(pods))}
	}
	message := "pods are being evicted: " + names(pods)
	for i := range pods {
		switch err := d.evict(ctx, &pods[i]); {
		case apierrors.IsTooManyRequests(err):
			message = fmt.Sprintf("pod %s can't be evicted yet: %v", client.ObjectKeyFromObject(&pods[i]), err)
		case err != nil:
			return fmt.Errorf("evict pod %s: %w", client.ObjectKeyFromObject(&pods[i]), err)
		}
	}
	return &obstacle{"Draining", message}
}

func (d *Drainer) evict(ctx context.Context, pod *corev1.Pod) error {
	if !pod.DeletionTimestamp.IsZero() {
		return nil
	}
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}}
	return client.IgnoreNotFound(d.Client.SubResource("eviction").Create(ctx, pod, eviction)) //nolint:wrapcheck // the caller looks at it
}

// pods are those of a node that have an end to come to. Those of DaemonSets would be back at once, and go with the node.
func (d *Drainer) pods(ctx context.Context, node string) ([]corev1.Pod, error) {
	var list corev1.PodList
	if err := d.API.List(ctx, &list, client.MatchingFields{"spec.nodeName": node}); err != nil {
		return nil, fmt.Errorf("list pods of node %s: %w", node, err)
	}
	return slices.DeleteFunc(list.Items, func(p corev1.Pod) bool {
		owner := metav1.GetControllerOf(&p)
		finished := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
		return finished || owner != nil && owner.Kind == "DaemonSet"
	}), nil
}

// names are those of some pods, and how many there are beyond them.
func names(pods []corev1.Pod) string {
	var some []string
	for i := range pods[:min(len(pods), namedPods)] {
		some = append(some, client.ObjectKeyFromObject(&pods[i]).String())
	}
	text := strings.Join(some, ", ")
	if more := len(pods) - namedPods; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
