package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/logging"
)

// ErrNotOpen says that a node is not open: it has just begun, or can't be opened.
var ErrNotOpen = errors.New("node is not open")

// errEnded says that the process is about to end.
var errEnded = errors.New("no nodes are served any more")

// Served is a node that is open, as a Fleet runs it.
type Served interface {
	// Run is the node until ctx ends, or until it fails. It is called once.
	Run(ctx context.Context) error
	// Close lets go of everything that the node has. Its pod VMs run on.
	Close(ctx context.Context)
	// RemoveVMs removes what is left on a node that takes no pods any more. It is called after Run.
	RemoveVMs(ctx context.Context) error
	// Offers returns what the node has, and what pod VMs have of it.
	Offers(ctx context.Context) (capacity, inUse corev1.ResourceList, err error)
}

// Spec says what a node of a Fleet is made of.
type Spec struct {
	// Revision tells specs apart: the same revision is the same node.
	Revision string
	// Check returns why the spec can't be served, before a node that runs is given up for it.
	Check func(ctx context.Context) error
	// Open opens the node.
	Open func(ctx context.Context) (Served, error)
}

// State is what is known of a node of a Fleet.
type State struct {
	// Revision is that of the spec which is served, or tried.
	Revision string
	// Node is nil while the node is not open.
	Node Served
	// Err is why the latest attempt ended; nil once the node has been opened again.
	Err error
}

// Fleet is a number of nodes by the name of their VCH, each opened, run, tried again and closed by itself: one that can't
// be opened, or fails, holds up no other. It is safe for concurrent use, but calls for one name are made one after another.
type Fleet struct {
	changed func(name string)
	news    chan struct{} // one token: there are pending members

	mu      sync.Mutex // guards what follows
	members map[string]*member
	pending []*member // for Run to start
	ended   bool      // Run has returned or is about to
}

// NewFleet returns a Fleet without nodes, which runs none before Run. changed is called without delay when a node's State
// is another.
func NewFleet(changed func(name string)) *Fleet {
	return &Fleet{changed: changed, news: make(chan struct{}, 1), members: map[string]*member{}}
}

// Run runs the nodes that Apply asks for until ctx ends, and returns when all of them are closed. It is called once.
func (f *Fleet) Run(ctx context.Context) {
	var running sync.WaitGroup
	for {
		for _, m := range f.takePending() {
			running.Go(func() { m.run(logging.With(ctx, "vch", m.name)) })
		}
		select {
		case <-f.news:
		case <-ctx.Done():
			f.end()
			running.Wait()
			return
		}
	}
}

func (f *Fleet) takePending() []*member {
	f.mu.Lock()
	defer f.mu.Unlock()
	taken := f.pending
	f.pending = nil
	return taken
}

// end refuses further nodes, and ends those that have not begun.
func (f *Fleet) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for _, m := range f.pending {
		close(m.done)
	}
	f.pending = nil
}

// Apply has the node of that name be what spec says: it is opened, or opened anew where the revision is another one. A node
// that is open stays as it is when spec.Check refuses the new one; that error is returned, and for a while without asking
// again.
func (f *Fleet) Apply(ctx context.Context, name string, spec Spec) error {
	if m := f.member(name); m != nil {
		state := m.get()
		if state.Revision == spec.Revision {
			return nil
		}
		if state.Node != nil {
			if err := m.check(ctx, spec); err != nil {
				return err
			}
		}
		f.endMember(m, nil)
	}
	return f.begin(newMember(name, spec, f.changed))
}

// begin has Run start a member.
func (f *Fleet) begin(m *member) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return errEnded
	}
	f.members[m.name] = m
	f.pending = append(f.pending, m)
	select {
	case f.news <- struct{}{}:
	default: // Run has not seen the former ones either
	}
	return nil
}

// endMember ends a member, calls last with its node before that is closed, and waits.
func (f *Fleet) endMember(m *member, last func(Served)) {
	f.mu.Lock()
	waiting := slices.Index(f.pending, m)
	if waiting >= 0 {
		f.pending = slices.Delete(f.pending, waiting, waiting+1)
		close(m.done)
	}
	f.mu.Unlock()
	m.end(last)
}

// Remove ends a node, removes the VMs that are left on it, and forgets it. If that fails, it opens the node again. A
// missing node is not an error. ErrNotOpen: nobody can know what is left.
func (f *Fleet) Remove(ctx context.Context, name string) error {
	m := f.member(name)
	if m == nil {
		return nil
	}
	err := ErrNotOpen
	f.endMember(m, func(n Served) { err = n.RemoveVMs(ctx) })
	f.forget(name)
	if err != nil {
		return errors.Join(fmt.Errorf("remove node of VCH %s: %w", name, err), f.begin(newMember(name, m.spec, f.changed)))
	}
	return nil
}

// Abandon ends a node and forgets it. Its VMs run on. A missing node is not an error.
func (f *Fleet) Abandon(name string) {
	if m := f.member(name); m != nil {
		f.endMember(m, nil)
		f.forget(name)
	}
}

func (f *Fleet) forget(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.members, name)
}

// State returns what is known of a node; false where there is none.
func (f *Fleet) State(name string) (State, bool) {
	m := f.member(name)
	if m == nil {
		return State{}, false
	}
	return m.get(), true
}

// Names are those of all nodes, sorted.
func (f *Fleet) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.members))
}

func (f *Fleet) member(name string) *member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[name]
}
