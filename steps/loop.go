package steps

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/tracing"
)

const (
	// every is when a loop looks though nothing woke it: watches may miss a change.
	every = time.Minute
	// moment is the least time between two steps of one name while nothing changes.
	moment = 500 * time.Millisecond

	retryFirst = time.Second
	retryMax   = time.Minute
)

// Config is what a Loop works with.
type Config struct {
	// Kind is one word for what is looked after, which begins the names of spans.
	Kind string
	// Attributes are those of the spans.
	Attributes []attribute.KeyValue
	// Metrics count; nil counts nowhere.
	Metrics *Metrics
}

// Loop looks after one thing. Wake may be called from anywhere; all else belongs to the goroutine of Run.
type Loop[V View] struct {
	cfg     Config
	subject Subject[V]
	wakeup  chan struct{} // one token: look again
	results chan Result
	acting  *acting // nil: no step is being done
	looks   *Retries
	retries *Retries
	paces   map[string]pace
}

// acting is a step that is being done.
type acting struct {
	step   Step
	mark   any // of the view that it was decided on
	cancel context.CancelFunc
}

// pace keeps a step from being repeated before its effect shows.
type pace struct {
	mark  any
	until time.Time
}

// New returns a Loop that does nothing before Run.
func New[V View](cfg Config, subject Subject[V]) *Loop[V] {
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil, cfg.Kind)
	}
	return &Loop[V]{
		cfg: cfg, subject: subject,
		wakeup:  make(chan struct{}, 1),
		results: make(chan Result, 1),
		looks:   NewRetries(retryFirst, retryMax),
		retries: NewRetries(retryFirst, retryMax),
		paces:   map[string]pace{},
	}
}

// Wake has the loop look again. It returns at once.
func (l *Loop[V]) Wake() {
	select {
	case l.wakeup <- struct{}{}:
	default:
	}
}

// Retries are those of the steps, by their names. A subject may keep retries of its own there, under other names.
func (l *Loop[V]) Retries() *Retries { return l.retries }

// Run works until ctx ends, or nothing is left to do. When it returns nothing of it goes on. It is called once.
func (l *Loop[V]) Run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	l.cfg.Metrics.loops.Inc()
	defer l.cfg.Metrics.loops.Dec()
	defer l.drain()
	defer cancel()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wakeup:
		case <-timer.C:
		case r := <-l.results:
			if l.finish(ctx, r); r.Step.Last && r.Err == nil {
				return
			}
		}
		wait, over := l.round(ctx)
		if over {
			return
		}
		timer.Reset(max(wait, time.Millisecond))
	}
}

// drain waits for the step that is being done.
func (l *Loop[V]) drain() {
	if l.acting != nil {
		l.acting.cancel()
		<-l.results
	}
}

// round looks, and begins the step that is next. It returns when to look again.
func (l *Loop[V]) round(ctx context.Context) (wait time.Duration, over bool) {
	v, err := l.subject.Look(ctx)
	if err != nil {
		l.looks.Failed("", err)
		logging.From(ctx).WarnContext(ctx, "look failed, will be tried again", "err", err)
		return l.looks.Wait(""), false
	}
	l.looks.Succeeded("")
	wait = soonest(every, v.Lasts())
	if l.acting != nil {
		if l.acting.step.Builds && v.Turned() {
			l.acting.cancel()
		}
		return wait, false
	}
	next := l.subject.Next(ctx, v)
	if next.Step.Name != "" && !next.Over {
		wait = min(wait, l.begin(ctx, next.Step, v.Mark()))
	}
	return soonest(wait, next.Wait), next.Over
}

// soonest is the shorter wait; 0 means none.
func soonest(wait, other time.Duration) time.Duration {
	if other == 0 {
		return wait
	}
	return min(wait, other)
}

// begin does s unless it has to wait, for the duration that it returns.
func (l *Loop[V]) begin(ctx context.Context, s Step, mark any) time.Duration {
	if wait := l.retries.Wait(s.Name); wait > 0 {
		return wait
	}
	if p, ok := l.paces[s.Name]; ok && p.mark == mark && time.Until(p.until) > 0 {
		return time.Until(p.until)
	}
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	l.acting = &acting{step: s, mark: mark, cancel: cancel}
	began := time.Now()
	// Ends with the step, which ctx bounds; drain waits for it.
	go func() {
		o := l.do(ctx, s)
		l.results <- Result{
			Outcome: o, Step: s, Took: time.Since(began),
			Cancelled: errors.Is(ctx.Err(), context.Canceled),
		}
	}()
	return every
}

// do does s, as a span where it is traced.
func (l *Loop[V]) do(ctx context.Context, s Step) Outcome {
	running := l.cfg.Metrics.running.WithLabelValues(s.Name)
	running.Inc()
	defer running.Dec()
	if s.Quiet && s.Span == nil {
		return s.Do(ctx)
	}
	if s.Span != nil {
		ctx = trace.ContextWithSpan(ctx, s.Span)
	}
	ctx, end := tracing.Start(ctx, l.cfg.Kind+" "+s.Name, l.cfg.Attributes...)
	o := s.Do(ctx)
	end(o.Err)
	return o
}

// finish takes a step's result.
func (l *Loop[V]) finish(ctx context.Context, r Result) {
	mark := l.acting.mark
	l.acting.cancel()
	l.acting = nil
	if r.Then != nil {
		r.Then()
	}
	log := logging.From(ctx)
	switch {
	case r.Err == nil:
		l.cfg.Metrics.done(r.Step.Name, resultOK)
		l.retries.Succeeded(r.Step.Name)
		l.paces[r.Step.Name] = pace{mark, time.Now().Add(max(r.Again, moment))}
		if !r.Step.Quiet {
			log.InfoContext(ctx, "step done", "op", r.Step.Name, "took", r.Took)
		}
	case r.Cancelled:
		l.cfg.Metrics.done(r.Step.Name, resultCancelled)
		log.InfoContext(ctx, "step cancelled", "op", r.Step.Name, "took", r.Took)
	default:
		l.cfg.Metrics.done(r.Step.Name, resultError)
		l.retries.Failed(r.Step.Name, r.Err)
		log.WarnContext(ctx, "step failed, will be tried again", "op", r.Step.Name, "took", r.Took, "err", r.Err)
	}
	l.subject.Ended(ctx, r)
}
