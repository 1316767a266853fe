package provider

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/util/retry"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	// reportInterval is how often the VCH is asked for its capacity, as the kubelet looks at its own machine.
	reportInterval = 10 * time.Second
	// capacityTimeout bounds one such question.
	capacityTimeout = 10 * time.Second
)

// Host says what the VCH offers. portlayer.PodHost is one.
type Host interface {
	Capacity(ctx context.Context) (portlayer.Capacity, error)
}

var _ node.NodeProvider = (*nodeReporter)(nil)

// nodeReporter keeps the Node object true.
type nodeReporter struct {
	name string
	port int32
	desc *Description
	host Host
	api  corev1client.NodeInterface

	kicked     chan struct{} // report now
	registered chan struct{} // closed once push is set
	once       sync.Once     // guards the closing of registered

	mu       sync.Mutex // guards all below
	push     func(*corev1.Node)
	health   health
	capacity portlayer.Capacity
	last     *corev1.Node
}

func newNodeReporter(name string, desc *Description, host Host, api corev1client.NodeInterface) *nodeReporter {
	return &nodeReporter{
		name:       name,
		desc:       desc,
		host:       host,
		api:        api,
		kicked:     make(chan struct{}, 1),
		registered: make(chan struct{}),
		health:     health{reason: "NodeStarting", message: "the node is starting"},
	}
}

// Ping is answered as long as this program runs: what is wrong with the VCH is a condition, which could not be written if
// the node fell silent.
func (r *nodeReporter) Ping(ctx context.Context) error { return ctx.Err() }

// NotifyNodeStatus keeps the callback by which the node's state reaches Virtual Kubelet.
func (r *nodeReporter) NotifyNodeStatus(_ context.Context, push func(*corev1.Node)) {
	r.mu.Lock()
	r.push, r.last = push, nil
	r.mu.Unlock()
	r.once.Do(func() { close(r.registered) })
	r.kick(false)
}

// set changes what the node says of itself.
func (r *nodeReporter) set(h health) {
	r.mu.Lock()
	r.health = h
	r.mu.Unlock()
	r.kick(false)
}

// latest is what the VCH offered when it was asked last.
func (r *nodeReporter) latest() portlayer.Capacity {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.capacity
}

// kick reports soon; force also when nothing has changed.
func (r *nodeReporter) kick(force bool) {
	if force {
		r.mu.Lock()
		r.last = nil
		r.mu.Unlock()
	}
	select {
	case r.kicked <- struct{}{}:
	default:
	}
}

// run reports until ctx ends.
func (r *nodeReporter) run(ctx context.Context) {
	ticker := time.NewTicker(reportInterval)
	defer ticker.Stop()
	select {
	case <-ctx.Done():
		return
	case <-r.registered:
	}
	for {
		if n, changed := r.observe(ctx); changed {
			r.hand(ctx, n)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-r.kicked:
		}
	}
}

// hand gives n to Virtual Kubelet, whose callback waits for its loop to take it.
func (r *nodeReporter) hand(ctx context.Context, n *corev1.Node) {
	r.mu.Lock()
	push := r.push
	r.mu.Unlock()
	taken := make(chan struct{})
	go func() { // ends with Virtual Kubelet's next turn; when its loop has ended, with the process
		defer close(taken)
		push(n)
	}()
	select {
	case <-ctx.Done():
	case <-taken:
	}
}

// observe asks the VCH and returns the node as it should be, and whether that is news.
func (r *nodeReporter) observe(ctx context.Context) (n *corev1.Node, changed bool) {
	ctx, cancel := context.WithTimeout(ctx, capacityTimeout)
	defer cancel()
	capacity, err := r.host.Capacity(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.health
	switch {
	case err == nil:
		r.capacity = capacity
	case h.ready:
		h = health{reason: "VCHUnreachable", message: err.Error()}
	}
	n = nodeObject(r.name, r.desc, r.port, observation{r.capacity, h, time.Now()})
	if r.last != nil {
		keepTransitions(n.Status.Conditions, r.last.Status.Conditions)
	}
	changed = r.last == nil || !sameReport(r.last, n)
	r.last = n
	return n.DeepCopy(), changed
}

// sameReport compares without heartbeats.
func sameReport(a, b *corev1.Node) bool {
	a, b = a.DeepCopy(), b.DeepCopy()
	for _, n := range []*corev1.Node{a, b} {
		for i := range n.Status.Conditions {
			n.Status.Conditions[i].LastHeartbeatTime = metav1.Time{}
		}
	}
	return equality.Semantic.DeepEqual(a.Status, b.Status) && equality.Semantic.DeepEqual(a.Labels, b.Labels) &&
		equality.Semantic.DeepEqual(a.Annotations, b.Annotations)
}

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

// adopt remembers since when the conditions of a former run hold.
func (r *nodeReporter) adopt(there *corev1.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = there
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
		return t.Key == TaintKey || slices.ContainsFunc(ours, func(o corev1.Taint) bool { return o.MatchTaint(&t) })
	})
	return append(merged, ours...)
}
