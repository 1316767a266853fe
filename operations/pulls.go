package operations

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/persona"
)

// errNoAnswer says that a registry took too long where there was something else to use.
var errNoAnswer = errors.New("registry did not answer in time")

// puller brings one image here.
type puller interface {
	Pull(ctx context.Context, ref string, opts persona.PullOptions) (persona.Image, error)
}

// pulls shares pulls of one image between all that want it, and bounds how many run.
type pulls struct {
	store puller
	slots chan struct{}

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

	done  chan struct{} // closed at the end; what is below is set before
	image persona.Image
	took  time.Duration
	err   error
}

func newPulls(store puller, parallel int) *pulls {
	return &pulls{store: store, slots: make(chan struct{}, parallel), running: map[string]*pull{}}
}

// do pulls ref, or joins who does. patience bounds the wait for the registry's answer, not for the image; 0 is no bound.
func (p *pulls) do(ctx context.Context, ref string, patience time.Duration) (*pull, error) {
	one := p.join(ctx, ref)
	defer p.leave(ref, one)
	var tired <-chan time.Time
	if patience > 0 {
		t := time.NewTimer(patience)
		defer t.Stop()
		tired = t.C
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-tired:
		return nil, fmt.Errorf("%w: %v", errNoAnswer, patience)
	case <-one.reached:
	case <-one.done:
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-one.done:
		return one, one.err
	}
}

func (p *pulls) join(ctx context.Context, ref string) *pull {
	p.mu.Lock()
	defer p.mu.Unlock()
	one, ok := p.running[ref]
	if !ok {
		// The pull outlives the pod that asked first while another waits.
		shared, cancel := context.WithCancel(context.WithoutCancel(ctx))
		one = &pull{cancel: cancel, reached: make(chan struct{}), done: make(chan struct{})}
		p.running[ref] = one
		// Ends with the pull, which leave cancels when nobody waits; wait waits for it.
		p.going.Go(func() { p.run(shared, ref, one) })
	}
	one.waiters++
	return one
}

func (p *pulls) leave(ref string, one *pull) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if one.waiters--; one.waiters > 0 {
		return
	}
	one.cancel()
	if p.running[ref] == one {
		delete(p.running, ref)
	}
}

// wait returns when no pull goes on. Nobody may ask for one any more.
func (p *pulls) wait() { p.going.Wait() }

func (p *pulls) run(ctx context.Context, ref string, one *pull) {
	defer close(one.done)
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		one.err = ctx.Err()
		return
	}
	began := time.Now()
	one.image, one.err = p.store.Pull(ctx, ref, persona.PullOptions{
		Progress: func(persona.Progress) { one.once.Do(func() { close(one.reached) }) },
	})
	one.took = time.Since(began)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running[ref] == one {
		delete(p.running, ref) // the registry is asked again next time
	}
}
