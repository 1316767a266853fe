package fleet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/virtual-kubelet/vic/internal/logging"
)

// ErrNotOpen says that a node is not open: it has just begun, or can't be opened.
var ErrNotOpen = errors.New("node is not open")

// Node is one that is open.
type Node interface {
	// Run is the node until ctx ends, or until it fails. It is called once.
	Run(ctx context.Context) error
	// Close lets go of everything that the node has. Its pod VMs run on.
	Close(ctx context.Context)
}

// Spec says what a node is made of.
type Spec[N Node] struct {
	// Revision tells specs apart: the same revision is the same node.
	Revision string
	// Check returns why the spec can't be served, before a node that runs is given up for it.
	Check func(ctx context.Context) error
	// Open opens the node.
	Open func(ctx context.Context) (N, error)
}

// State is what is known of a node.
type State[N Node] struct {
	// Revision is that of the spec which is served, or tried.
	Revision string
	// Open tells that there is a Node.
	Open bool
	Node N
	// Err is why the latest attempt ended; nil once the node has been opened again.
	Err error
}

// Fleet is a number of nodes by name. It is safe for concurrent use, but calls for one name are made one after another.
type Fleet[N Node] struct {
	ctx     context.Context //nolint:containedctx // what nodes run in; it ends with Close
	cancel  context.CancelFunc
	changed func(name string)

	mu      sync.Mutex // guards members
	members map[string]*member[N]
}

// New returns a Fleet without nodes. ctx carries the logger; nodes run until Close, whatever becomes of ctx. changed is
// called without delay when a node's State is another.
func New[N Node](ctx context.Context, changed func(name string)) *Fleet[N] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) //nolint:gosec // Close calls it
	return &Fleet[N]{ctx: ctx, cancel: cancel, changed: changed, members: map[string]*member[N]{}}
}

// Apply has the node of that name be what spec says: it is opened, or opened anew where the revision is another one. A node
// that is open stays as it is when spec.Check refuses the new one; that error is returned, and for a while without asking
// again.
func (f *Fleet[N]) Apply(ctx context.Context, name string, spec Spec[N]) error {
	if m := f.member(name); m != nil {
		state := m.get()
		if state.Revision == spec.Revision {
			return nil
		}
		if state.Open {
			if err := m.check(ctx, spec); err != nil {
				return err
			}
		}
		m.end(nil)
	}
	m := &member[N]{
		name: name, spec: spec, changed: f.changed, done: make(chan struct{}),
		state: State[N]{Revision: spec.Revision},
	}
	ctx, m.cancel = context.WithCancel(logging.With(f.ctx, "vch", name)) //nolint:gosec // m.end calls it, or Close ends f.ctx
	f.mu.Lock()
	f.members[name] = m
	f.mu.Unlock()
	go m.run(ctx) //nolint:contextcheck // it outlives the call, and ends with m.end or with Close
	return nil
}

// Remove ends a node. last is called between its end and its closing, where it has been open, and may be nil; without it,
// or when it succeeds, the node is gone afterwards, else it is opened again. A node that is not there is no error.
// ErrNotOpen: last could not be called.
func (f *Fleet[N]) Remove(ctx context.Context, name string, last func(context.Context, N) error) error {
	m := f.member(name)
	if m == nil {
		return nil
	}
	var err error
	if last == nil {
		m.end(nil)
	} else {
		err = ErrNotOpen
		m.end(func(n N) { err = last(ctx, n) })
	}
	f.mu.Lock()
	delete(f.members, name)
	f.mu.Unlock()
	if err != nil {
		return errors.Join(fmt.Errorf("remove node of VCH %s: %w", name, err), f.Apply(ctx, name, m.spec))
	}
	return nil
}

// State returns what is known of a node; false where there is none.
func (f *Fleet[N]) State(name string) (State[N], bool) {
	m := f.member(name)
	if m == nil {
		return State[N]{}, false
	}
	return m.get(), true
}

// Names are those of all nodes.
func (f *Fleet[N]) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.members))
}

// Close ends all nodes and waits for them. Nothing is called afterwards.
func (f *Fleet[N]) Close() {
	f.cancel()
	for _, name := range f.Names() {
		if m := f.member(name); m != nil {
			<-m.done
		}
	}
}

func (f *Fleet[N]) member(name string) *member[N] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[name]
}

// member is one node, in all its attempts.
type member[N Node] struct {
	name    string
	spec    Spec[N]
	changed func(name string)
	cancel  context.CancelFunc
	done    chan struct{} // closed when run has ended

	refused refusal // of whoever calls Apply

	mu    sync.Mutex // guards what follows
	state State[N]
	last  func(N)
}

// refusal is what a check came to.
type refusal struct {
	revision string
	at       time.Time
	err      error
}

// refusedAgain is how long a check that failed is not made again.
const refusedAgain = 2 * time.Minute

// check tells whether a node that is open may be given up for another spec.
func (m *member[N]) check(ctx context.Context, spec Spec[N]) error {
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

func (m *member[N]) get() State[N] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

func (m *member[N]) set(change func(*State[N])) {
	m.mu.Lock()
	change(&m.state)
	m.mu.Unlock()
	m.changed(m.name)
}

// end ends the node, calls last with it before it is closed, and waits.
func (m *member[N]) end(last func(N)) {
	m.mu.Lock()
	m.last = last
	m.mu.Unlock()
	m.cancel()
	<-m.done
}

// run opens and runs the node until ctx ends.
func (m *member[N]) run(ctx context.Context) {
	defer close(m.done)
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

const (
	pauseBase = time.Second
	pauseCap  = time.Minute
)

func backoff() wait.Backoff {
	return wait.Backoff{Duration: pauseBase, Factor: 2, Jitter: 0.1, Steps: 100, Cap: pauseCap}
}

// attempt opens the node and runs it.
func (m *member[N]) attempt(ctx context.Context) error {
	n, err := m.spec.Open(ctx)
	if err != nil {
		m.set(func(s *State[N]) { s.Err = err })
		return err
	}
	m.set(func(s *State[N]) { s.Open, s.Node, s.Err = true, n, nil })
	err = n.Run(ctx)
	m.mu.Lock()
	last := m.last
	m.mu.Unlock()
	if ctx.Err() != nil && last != nil {
		last(n)
	}
	m.set(func(s *State[N]) {
		var none N
		s.Open, s.Node, s.Err = false, none, err
	})
	n.Close(context.WithoutCancel(ctx))
	return err
}
