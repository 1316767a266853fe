package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	pauseBase = time.Second
	pauseCap  = time.Minute
	// refusedAgain is how long a check that failed is not made again.
	refusedAgain = 2 * time.Minute
)

// errMemberEnds is the cause of the end of a node that does not end with its process: it is opened anew, or removed.
var errMemberEnds = errors.New("node is closed")

// member is one node of a fleet, in all its attempts.
type member struct {
	name    string
	spec    Spec
	changed func(name string)
	stop    chan struct{} // closed by end
	done    chan struct{} // closed when run has ended, or never begins

	refused refusal // of whoever calls Apply

	mu    sync.Mutex // guards what follows
	state State
	last  func(Served)
}

// refusal is what a check came to.
type refusal struct {
	revision string
	at       time.Time
	err      error
}

func newMember(name string, spec Spec, changed func(name string)) *member {
	return &member{
		name: name, spec: spec, changed: changed, stop: make(chan struct{}), done: make(chan struct{}),
		state: State{Revision: spec.Revision},
	}
}

// check returns why a node that is open must not be given up for another spec.
func (m *member) check(ctx context.Context, spec Spec) error {
	if m.refused.revision == spec.Revision && time.Since(m.refused.at) < refusedAgain {
		return m.refused.err
	}
	err := spec.Check(ctx)
	m.refused = refusal{}
	if err != nil {
		m.refused = refusal{spec.Revision, time.Now(), err}
	}
	return err
}

func (m *member) get() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

func (m *member) set(change func(*State)) {
	m.mu.Lock()
	change(&m.state)
	m.mu.Unlock()
	m.changed(m.name)
}

// end ends the node, calls last with it before it is closed, and waits. It is called once.
func (m *member) end(last func(Served)) {
	m.mu.Lock()
	m.last = last
	m.mu.Unlock()
	close(m.stop)
	<-m.done
}

// run opens and runs the node until ctx or the member ends.
func (m *member) run(ctx context.Context) {
	defer close(m.done)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // ends with ctx
		select {
		case <-m.stop:
			cancel(errMemberEnds)
		case <-ctx.Done():
		}
	}()
	pause := backoff()
	for {
		begin := time.Now()
		err := m.attempt(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(begin) > pauseCap {
			pause = backoff()
		}
		wait := pause.Step()
		logging.From(ctx).WarnContext(ctx, "node ended, and is opened again", "err", err, "in", wait.String())
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

func backoff() wait.Backoff {
	return wait.Backoff{Duration: pauseBase, Factor: 2, Jitter: 0.1, Steps: 100, Cap: pauseCap}
}

// attempt opens the node and runs it.
func (m *member) attempt(ctx context.Context) error {
	n, err := m.spec.Open(ctx)
	if err != nil {
		m.set(func(s *State) { s.Err = err })
		return err
	}
	m.set(func(s *State) { s.Node, s.Err = n, nil })
	err = n.Run(ctx)
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	if ctx.Err() != nil && last != nil {
		last(n)
	}
	m.set(func(s *State) { s.Node, s.Err = nil, err })
	n.Close(context.WithoutCancel(ctx))
	return err
}
