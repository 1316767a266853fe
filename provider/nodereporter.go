package provider

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/virtual-kubelet/virtual-kubelet/node"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	// reportInterval is how often the VCH is asked for its capacity, as the kubelet looks at its own machine.
	reportInterval = 10 * time.Second
	// capacityTimeout bounds one such question.
	capacityTimeout = 10 * time.Second
)

// Host says what the VCH offers. podvm.PodHost is one.
type Host interface {
	Capacity(ctx context.Context) (portlayer.Capacity, error)
}

var _ node.NodeProvider = (*nodeReporter)(nil)

// reporterConfig is what a nodeReporter works with.
type reporterConfig struct {
	name string
	desc *Description
	host Host
	api  corev1client.NodeInterface
	// leases are those of nodes; nil where another machine may have served the node until now.
	leases coordinationv1client.LeaseInterface
	// recorder, images and transition may be zero: no events, no images, pressures that end at once.
	recorder   record.EventRecorder
	images     Images
	transition time.Duration
	// self is the node's object as the API server has it; nil while that is not known.
	self func() *corev1.Node
}

// nodeReporter keeps the Node object true.
type nodeReporter struct {
	reporterConfig
	port int32

	asking chan struct{} // one token, of whoever asks the VCH

	kicked     chan struct{} // report now
	registered chan struct{} // closed once push is set
	once       sync.Once     // guards the closing of registered

	mu       sync.Mutex // guards all below
	push     func(*corev1.Node)
	health   health
	capacity portlayer.Capacity
	hold     pressureHold
	last     *corev1.Node
	anew     bool // somebody has made the node: nothing is known of it
	events   nodeEvents
}

func newNodeReporter(cfg reporterConfig) *nodeReporter {
	return &nodeReporter{
		reporterConfig: cfg,
		asking:         make(chan struct{}, 1),
		kicked:         make(chan struct{}, 1),
		registered:     make(chan struct{}),
		health:         health{reason: "NodeStarting", message: "the node is starting"},
		hold:           pressureHold{keep: cfg.transition},
		events:         nodeEvents{recorder: cfg.recorder, node: cfg.name, self: cfg.self},
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

// pressures are those that the node reports.
func (r *nodeReporter) pressures() []corev1.NodeConditionType {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []corev1.NodeConditionType
	for _, kind := range pressureKinds {
		if slices.ContainsFunc(r.capacity.Conditions, func(c portlayer.Condition) bool { return c.True && c.Type == string(kind) }) {
			all = append(all, kind)
		}
	}
	return all
}

// madeAnew reports soon to a node that has just been made, perhaps by an administrator.
func (r *nodeReporter) madeAnew() {
	r.mu.Lock()
	r.anew = true
	r.mu.Unlock()
	r.kick(true)
}

// takeAnew reports whether the node has been made since it was asked last.
func (r *nodeReporter) takeAnew() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	anew := r.anew
	r.anew = false
	return anew
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
		if r.takeAnew() {
			r.retaint(ctx)
		}
		if n, changed := r.observe(ctx); changed && ctx.Err() == nil {
			r.makeEvents(n)
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

// makeEvents makes events of what is news in n.
func (r *nodeReporter) makeEvents(n *corev1.Node) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events.report(n)
}

// observe asks the VCH and returns the node as it should be, and whether that is news.
func (r *nodeReporter) observe(ctx context.Context) (n *corev1.Node, changed bool) {
	capacity, err := r.ask(ctx)
	images, now := imagesOf(ctx, r.images), time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.health
	switch {
	case err == nil:
		capacity.Conditions = r.hold.apply(capacity.Conditions, now)
		r.capacity = capacity
	case h.ready:
		h = health{reason: "VCHUnreachable", message: err.Error()}
	}
	n = nodeObject(r.name, r.desc, r.port, observation{r.capacity, h, now})
	n.Status.Images = images
	if r.last != nil {
		keepTransitions(n.Status.Conditions, r.last.Status.Conditions)
	}
	changed = r.last == nil || !sameReport(r.last, n)
	r.last = n
	return n.DeepCopy(), changed
}

// ask asks the VCH what it offers. One that hangs, as a disk can, is not asked again before it has answered.
func (r *nodeReporter) ask(ctx context.Context) (portlayer.Capacity, error) {
	ctx, cancel := context.WithTimeout(ctx, capacityTimeout)
	select {
	case r.asking <- struct{}{}:
	case <-ctx.Done():
		cancel()
		return portlayer.Capacity{}, fmt.Errorf("the VCH does not answer: %w", ctx.Err())
	}
	type answer struct {
		capacity portlayer.Capacity
		err      error
	}
	answered := make(chan answer, 1)
	go func() { // ends with the VCH's answer
		defer cancel()
		defer func() { <-r.asking }()
		c, err := r.host.Capacity(ctx)
		answered <- answer{c, err}
	}()
	select {
	case a := <-answered:
		return a.capacity, a.err
	case <-ctx.Done():
		return portlayer.Capacity{}, fmt.Errorf("the VCH does not answer: %w", ctx.Err())
	}
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
