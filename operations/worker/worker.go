package worker

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/steps"
)

// Host is what a worker looks at, and acknowledges, by itself.
type Host interface {
	Get(ctx context.Context, uid string) (podvm.VM, error)
	AckEvents(ctx context.Context, uid, bootID string, seq uint64) error
	Console(ctx context.Context, uid string) ([]byte, error)
	Remember(ctx context.Context, uid string, record []byte) error
}

// Admission counts what pods take of the node.
type Admission interface {
	// Leave gives back all that a pod takes.
	Leave(uid types.UID)
}

// Config is what workers work with. One serves all workers of a node.
type Config struct {
	Units
	Host         Host
	Capabilities podvm.Capabilities
	Cache        *cache.Pods
	Events       events.Writer
	Images       *images.Manager
	Admission    Admission
	// HostIP returns the address of the node.
	HostIP func() string
	// Released is called when a VM has given volumes back that others may wait for.
	Released func()
	Metrics  *Metrics
}

// Worker brings one pod from what is to what is wanted. Its methods may be called from anywhere, and return at once but for
// Run.
type Worker struct {
	*Config
	uid     types.UID
	loop    *steps.Loop[*view]
	stopped chan struct{} // closed when Run has returned

	mu      sync.Mutex // guards desired
	desired desired

	// What is below belongs to Run's goroutine. All of it may be lost.
	memory  memory
	waits   map[string]*imageWait
	pulling sync.WaitGroup // of the goroutines behind waits
	start   *start
}

// New returns a worker of the pod of that identity, whose spec is not known yet. It does nothing before Run.
func New(cfg *Config, pod *corev1.Pod) *Worker {
	w := &Worker{
		Config: cfg, uid: pod.UID, desired: desired{pod: pod},
		stopped: make(chan struct{}),
		waits:   map[string]*imageWait{},
		start:   &start{metrics: cfg.Metrics, heard: time.Now()},
	}
	w.loop = steps.New(steps.Config{
		Kind: "pod", Attributes: []attribute.KeyValue{tracing.PodUID(string(pod.UID))}, Metrics: cfg.Metrics.Steps,
	}, subject{w})
	return w
}

// UID is the pod's.
func (w *Worker) UID() types.UID { return w.uid }

// Stopped is closed when Run has returned.
func (w *Worker) Stopped() <-chan struct{} { return w.stopped }

// Want brings pod about as it is now.
func (w *Worker) Want(pod *corev1.Pod) {
	w.change(func(d *desired) { d.pod, d.known = pod, true })
}

// Forget removes all of the pod, whose API object is no more.
func (w *Worker) Forget() { w.change(func(d *desired) { d.gone = true }) }

// Shutdown ends the pod, and the worker with it, since the node ends.
func (w *Worker) Shutdown() { w.change(func(d *desired) { d.shutdown = true }) }

// VolumesReleased says that some VM has given volumes back.
func (w *Worker) VolumesReleased() { w.change(func(d *desired) { d.releases++ }) }

// Wake has the worker look again.
func (w *Worker) Wake() { w.loop.Wake() }

func (w *Worker) change(change func(*desired)) {
	w.mu.Lock()
	change(&w.desired)
	w.desired.revision++
	w.mu.Unlock()
	w.loop.Wake()
}

func (w *Worker) wanted() desired {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.desired
}

// Run works until ctx ends or nothing is left to do. When it returns nothing of it goes on. It is called once.
func (w *Worker) Run(ctx context.Context) {
	defer close(w.stopped)
	pod := w.wanted().pod
	ctx, cancel := context.WithCancel(logging.With(ctx, "pod", pod.Namespace+"/"+pod.Name, "vm", string(w.uid)))
	defer w.start.end(errNotStarted)
	defer w.releaseImages()
	defer cancel()
	w.loop.Run(ctx)
}

// subject is a worker as its loop sees it. It implements steps.Subject.
type subject struct{ *Worker }

// Look observes what is, remembers, and reports.
func (s subject) Look(ctx context.Context) (*view, error) {
	v, err := s.look(ctx)
	if err != nil {
		return nil, err
	}
	var effects []effect
	s.memory, effects = s.memory.after(v)
	s.perform(ctx, v.pod, effects)
	v.images, v.failures = s.images(), s.loop.Retries().Failures() // what was performed may have changed them
	s.report(v)
	return v, nil
}

func (w *Worker) look(ctx context.Context) (*view, error) {
	ctx, cancel := context.WithTimeout(ctx, observeTimeout)
	defer cancel()
	v := &view{desired: w.wanted(), now: time.Now(), host: w.Capabilities}
	vm, err := w.Host.Get(ctx, string(w.uid))
	switch {
	case err == nil:
		v.vm = &vm
	case !errors.Is(err, portlayer.ErrNotFound):
		return nil, err
	}
	v.status = v.pod.Status
	if e, ok := w.Cache.Get(w.uid); ok {
		v.status = e.Pod.Status
	}
	return v, nil
}

// Next decides, and says how what was decided is done.
func (s subject) Next(ctx context.Context, v *view) steps.Decision {
	d := decide(v, s.memory)
	s.perform(ctx, v.pod, d.effects)
	s.memory.seeds = d.seeds
	next := steps.Decision{Wait: d.wait, Over: d.over}
	if d.step.name != "" {
		next.Step = s.stepOf(v, d.step)
	}
	return next
}

// Ended follows a step that has ended.
func (s subject) Ended(ctx context.Context, r steps.Result) {
	switch {
	case r.Err == nil:
		s.start.did(r.Step.Name, r.Took)
	case !r.Cancelled:
		if errors.Is(r.Err, persona.ErrNotFound) {
			s.missImages()
		}
		s.perform(ctx, s.wanted().pod, failed(r.Step.Name, r.Err))
	}
}
