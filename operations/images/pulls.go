package images

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/steps"
)

// errNoAnswer says that a registry took too long where there was something else to use.
var errNoAnswer = errors.New("registry did not answer in time")

// puller brings one image here.
type puller interface {
	Pull(ctx context.Context, ref string, opts persona.PullOptions) (persona.Image, error)
}

// pullRequest is an image that somebody wants.
type pullRequest struct {
	ref  string
	auth []persona.Credentials
	// patience bounds the wait for the registry's answer, not for the image; 0 means no bound.
	patience time.Duration
	// progress is called now and then with how far a long pull is.
	progress func(persona.Progress)
}

// key is the same for requests that one pull can serve: who pulls with other credentials has to show them.
func (r pullRequest) key() string {
	sum := sha256.New()
	for _, c := range r.auth {
		_, _ = fmt.Fprintf(sum, "%q %q %q %q %q\n", c.Holder, c.Username, c.Password, c.IdentityToken, c.RegistryToken) // a hash never fails
	}
	return r.ref + " " + string(sum.Sum(nil))
}

// pulls shares pulls of one image between all that want it with the same credentials, and bounds how many run.
type pulls struct {
	store   puller
	slots   chan struct{}
	metrics *metrics

	going sync.WaitGroup // of pulls, also of those that nobody waits for and that have not ended yet

	mu      sync.Mutex // guards running and the waiters in it
	running map[string]*pull
}

// pull is one that runs. It goes on while anybody waits for it.
type pull struct {
	cancel  context.CancelFunc
	waiters int

	once    sync.Once
	reached chan struct{} // closed when the registry has answered

	progress atomic.Pointer[persona.Progress] // nil: nothing came yet

	done  chan struct{} // closed at the end; what is below is set before
	image persona.Image
	took  time.Duration
	err   error
}

func newPulls(store puller, parallel int, metrics *metrics) *pulls {
	return &pulls{store: store, slots: make(chan struct{}, parallel), metrics: metrics, running: map[string]*pull{}}
}

// do pulls what is wanted, or joins who does.
func (p *pulls) do(ctx context.Context, r pullRequest) (*pull, error) {
	key := r.key()
	one := p.join(ctx, key, r)
	defer p.leave(key, one)
	var tired <-chan time.Time
	if r.patience > 0 {
		t := time.NewTimer(r.patience)
		defer t.Stop()
		tired = t.C
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-tired:
		return nil, fmt.Errorf("%w: %v", errNoAnswer, r.patience)
	case <-one.reached:
	case <-one.done:
	}
	return one.wait(ctx, r.progress)
}

// wait returns when the pull has ended, and calls progress meanwhile, at longer and longer intervals.
func (o *pull) wait(ctx context.Context, progress func(persona.Progress)) (*pull, error) {
	interval := steps.Backoff{First: progressFirst, Max: progressMax}
	t := time.NewTimer(interval.Next())
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-o.done:
			return o, o.err
		case <-t.C:
			if p := o.progress.Load(); p != nil && progress != nil {
				progress(*p)
			}
			t.Reset(interval.Next())
		}
	}
}

func (p *pulls) join(ctx context.Context, key string, r pullRequest) *pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.running[key]
	if !ok {
		// The pull outlives the pod that asked first while another waits.
		shared, cancel := context.WithCancel(context.WithoutCancel(ctx))
		one = &pull{cancel: cancel, reached: make(chan struct{}), done: make(chan struct{})}
		p.running[key] = one
		// Ends with the pull, which leave cancels when nobody waits; wait waits for it.
		p.going.Go(func() { p.run(shared, key, r, one) })
	}
	one.waiters++
	return one
}

func (p *pulls) leave(key string, one *pull) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one.waiters--; one.waiters > 0 {
		return
	}
	one.cancel()
	if p.running[key] == one {
		delete(p.running, key)
	}
}

// wait returns when no pull goes on. Nobody may ask for one any more.
func (p *pulls) wait() { p.going.Wait() }

func (p *pulls) run(ctx context.Context, key string, r pullRequest, one *pull) {
	defer close(one.done)
	if one.err = p.slot(ctx); one.err != nil {
		return
	}
	defer func() { <-p.slots }()
	p.metrics.pulling.Inc()
	defer p.metrics.pulling.Dec()
	ctx, end := tracing.Start(ctx, "pull image", tracing.Image(r.ref))
	began := time.Now()
	one.image, one.err = p.store.Pull(ctx, r.ref, persona.PullOptions{
		Auth: r.auth,
		Progress: func(now persona.Progress) {
			one.progress.Store(&now)
			one.once.Do(func() { close(one.reached) })
		},
	})
	one.took = time.Since(began)
	end(one.err)
	p.metrics.pulled(one.took, one.err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[key] == one {
		delete(p.running, key) // the registry is asked again next time
	}
}

// slot waits until one more pull may run.
func (p *pulls) slot(ctx context.Context) error {
	p.metrics.waiting.Inc()
	defer p.metrics.waiting.Dec()
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
