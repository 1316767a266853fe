package operations

import (
	"context"
	"errors"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/cache"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/operations/events"
	"github.com/virtual-kubelet/vic/operations/images"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/steps"
)

// Observer is what a worker looks at and acknowledges by itself.
type Observer interface {
	Get(ctx context.Context, uid string) (podvm.VM, error)
	AckEvents(ctx context.Context, uid, bootID string, seq uint64) error
	Console(ctx context.Context, uid string) ([]byte, error)
	Remember(ctx context.Context, id string, record []byte) error
}

// units are what all workers work with.
type units struct {
	observer  Observer
	cache     *cache.Pods
	events    events.Writer
	images    *images.Manager
	creator   *PodCreator
	starter   *PodStarter
	files     *PodFiles
	volumes   *PodVolumes
	freed     func() // tells others that a volume may be free
	stopper   *PodStopper
	deleter   *PodDeleter
	admission *Admission
	metrics   *Metrics
	node      func() NodeFacts
	hotAdd    bool
}

// desired is what others tell a worker.
type desired struct {
	pod *corev1.Pod
	// known tells that pod has its spec; otherwise it is an identity, taken from a VM.
	known bool
	// gone tells that the API object is no more.
	gone bool
	// shutdown tells that the node ends and the VM with it.
	shutdown bool
	// freed counts how often a VM has given volumes back.
	freed int
	// revision counts what was told.
	revision int
}

// ending tells that the pod is to go for good.
func (d desired) ending() bool { return d.gone || d.pod.DeletionTimestamp != nil }

// worker brings one pod from what is to what is desired. One goroutine runs it, run; steps that wait are done on
// another, one at a time, so that status and events go on meanwhile.
type worker struct {
	*units
	uid     types.UID
	wakeup  chan struct{} // one token: look again
	stopped chan struct{} // closed when run has returned

	mu sync.Mutex // guards in
	in desired

	// What is below belongs to run's goroutine. All of it may be lost.
	results   chan result
	acting    *acting
	retries   *steps.Retries
	paces     map[string]pace
	waits     map[string]*containerImage
	pullers   sync.WaitGroup
	seen      *corev1.Pod      // the pod of the last look
	refused   error            // why seen can't run here
	rejected  error            // why it was not admitted
	barred    map[string]error // why ephemeral containers can't run here
	boot      bootMemory
	vms       vmMemory
	note      note
	recalled  bool      // note has what a former run of the program noted
	born      time.Time // when the pod was first heard of
	followed  bool      // beginning was decided on
	beginning *podStart // of a new pod; nil: it is none
	ended     bool      // nothing is left to do
}

// bootMemory is what a worker remembers of the boot that runs.
type bootMemory struct {
	id        string
	ran       map[string]string // revisions of the containers that the guest took, perhaps before its snapshot shows them
	delivery  Delivery
	stopping  *Stopping
	eventsSeq uint64 // the last one that was told
}

// vmMemory is what a worker remembers of its VM over boots.
type vmMemory struct {
	lastGuest *wire.Snapshot
	greeted   time.Time // when the VM was started whose guest has greeted
	// configured is when a guest took its plan, whose snapshot may come later.
	configured time.Time
	disks      map[string]plan.Disk // of the pod's claims, by volume
	freed      int                  // desired.freed, as it was last seen
	seeds      []wire.Seed          // what the next boot begins with; nil: not made yet
	silent     time.Time            // since when, of the silence that was told last
}

// acting is the step that is being done.
type acting struct {
	step   step
	cancel context.CancelFunc
}

// step is one thing to do, on a goroutine of its own.
type step struct {
	// name is the key for its retries, and "" for nothing to do.
	name string
	// build tells that a deletion cancels it.
	build   bool
	timeout time.Duration
	// quiet keeps its success out of the log.
	quiet bool
	run   func(ctx context.Context) outcome
}

// outcome is how a step ended. then is called on the worker's goroutine, also beside an error.
type outcome struct {
	err error
	// again is how long the same step has to wait while nothing changes; 0 is a moment.
	again time.Duration
	then  func()
}

type result struct {
	outcome
	step      step
	seen      fingerprint
	took      time.Duration
	cancelled bool
}

// pace keeps a step from being repeated before its effect shows.
type pace struct {
	seen  fingerprint
	until time.Time
}

// moment is the least time between two steps of one name while nothing changes.
const moment = 500 * time.Millisecond

func newWorker(u *units, uid types.UID) *worker {
	return &worker{
		units: u, uid: uid, born: time.Now(),
		wakeup:  make(chan struct{}, 1),
		stopped: make(chan struct{}),
		results: make(chan result, 1),
		retries: steps.NewRetries(retryFirst, retryMax),
		paces:   map[string]pace{},
		waits:   map[string]*containerImage{},
		barred:  map[string]error{},
	}
}

// tell changes what is desired, and wakes the worker.
func (w *worker) tell(change func(*desired)) {
	w.mu.Lock()
	change(&w.in)
	w.in.revision++
	w.mu.Unlock()
	w.wake()
}

func (w *worker) wake() {
	select {
	case w.wakeup <- struct{}{}:
	default:
	}
}

func (w *worker) desired() desired {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.in
}

// run works until ctx ends or nothing is left to do. When it returns nothing of it goes on.
func (w *worker) run(ctx context.Context) {
	defer close(w.stopped)
	pod := w.desired().pod
	ctx, cancel := context.WithCancel(logging.With(ctx, "pod", pod.Namespace+"/"+pod.Name, "podUID", w.uid))
	w.metrics.workers.Inc()
	defer w.metrics.workers.Dec()
	defer func() { w.beginning.end(errNotStarted) }()
	defer w.drain()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wakeup:
		case <-timer.C:
		case r := <-w.results:
			w.finish(ctx, r)
		}
		if w.ended {
			return
		}
		timer.Reset(max(w.round(ctx), time.Millisecond))
		if w.ended {
			return
		}
	}
}

// drain waits for what run has begun.
func (w *worker) drain() {
	if w.acting != nil {
		w.acting.cancel()
		<-w.results
	}
	w.dropImages()
	w.pullers.Wait()
	w.units.images.Release(w.uid)
}

// round looks, reports, and begins the step that is next. It returns when to look again.
func (w *worker) round(ctx context.Context) time.Duration {
	v, err := w.look(ctx)
	if err != nil {
		w.retries.Failed("look", err)
		logging.From(ctx).WarnContext(ctx, "pod VM could not be looked at", "err", err)
		return w.retries.Wait("look")
	}
	w.retries.Succeeded("look")
	w.recallNote(v)
	w.noteUpdate(v)
	w.noteRefusal(v)
	w.noteEphemeral(v)
	w.noteFreed(v)
	w.noteStart(v)
	w.noteBoot(v)
	w.noteEnd(v)
	w.keepNote(ctx, v)
	w.noteSilence(ctx, v)
	w.relayEvents(ctx, v)
	v.previous = w.report(v)
	w.noteStarted(v, v.previous)
	if w.acting != nil {
		if w.acting.step.build && (v.ending() || v.shutdown) {
			w.acting.cancel()
		}
		return min(lookAgain, v.untilSilent())
	}
	next, wait := w.decide(ctx, v)
	switch {
	case next.name != "":
		wait = min(wait, w.begin(ctx, next, v.fingerprint()))
	case v.shutdown && !v.running():
		w.ended = true
	}
	return min(wait, lookAgain, v.untilSilent(), v.untilDeadline())
}

// begin does s unless it has to wait, for the duration that it returns.
func (w *worker) begin(ctx context.Context, s step, seen fingerprint) time.Duration {
	if wait := w.retries.Wait(s.name); wait > 0 {
		return wait
	}
	if p, ok := w.paces[s.name]; ok && p.seen == seen && time.Until(p.until) > 0 {
		return time.Until(p.until)
	}
	ctx, cancel := context.WithTimeout(w.beginning.within(ctx), s.timeout)
	traced := !s.quiet || w.beginning.active()
	w.acting = &acting{step: s, cancel: cancel}
	began := time.Now()
	// Ends with the step, which ctx bounds; drain waits for it.
	go func() {
		o := w.do(ctx, s, traced)
		w.results <- result{
			outcome: o, step: s, seen: seen, took: time.Since(began),
			cancelled: errors.Is(ctx.Err(), context.Canceled),
		}
	}()
	return lookAgain
}

// do does s, as a span where it is traced.
func (w *worker) do(ctx context.Context, s step, traced bool) outcome {
	w.metrics.acting.WithLabelValues(s.name).Inc()
	defer w.metrics.acting.WithLabelValues(s.name).Dec()
	if !traced {
		return s.run(ctx)
	}
	ctx, end := tracing.Start(ctx, "pod "+s.name, tracing.PodUID(string(w.uid)))
	o := s.run(ctx)
	end(o.err)
	return o
}

// count notes how a step ended.
func (w *worker) count(r result) {
	switch {
	case r.err == nil:
		w.metrics.steps.WithLabelValues(r.step.name, "ok").Inc()
		w.beginning.did(r.step.name, r.took)
	case r.cancelled:
		w.metrics.steps.WithLabelValues(r.step.name, "cancelled").Inc()
	default:
		w.metrics.steps.WithLabelValues(r.step.name, "error").Inc()
	}
}

// finish takes a step's result.
func (w *worker) finish(ctx context.Context, r result) {
	w.acting.cancel()
	w.acting = nil
	if r.then != nil {
		r.then()
	}
	w.count(r)
	log := logging.From(ctx)
	switch {
	case r.err == nil:
		w.retries.Succeeded(r.step.name)
		w.paces[r.step.name] = pace{r.seen, time.Now().Add(max(r.again, moment))}
		if !r.step.quiet {
			log.InfoContext(ctx, "pod step done", "op", r.step.name, "took", r.took)
		}
	case r.cancelled:
		log.InfoContext(ctx, "pod step cancelled", "op", r.step.name, "took", r.took)
	default:
		if errors.Is(r.err, persona.ErrNotFound) {
			w.missImages()
		}
		w.retries.Failed(r.step.name, r.err)
		w.tellFailure(r)
		log.WarnContext(ctx, "pod step failed, will be tried again", "op", r.step.name, "took", r.took, "err", r.err)
	}
}
