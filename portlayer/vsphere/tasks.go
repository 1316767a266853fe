package vsphere

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

const (
	// maxWaitSeconds is how long one wait for updates may take: a lost session does not wake it.
	maxWaitSeconds = 60
	// sweepAt is how many ended tasks the view may hold: vSphere looks at all of a view at each change.
	sweepAt = 4
)

// tasks awaits all tasks together: one call looks at those that have begun since the last one, and those that take longer are
// watched with one list view and one collector.
type tasks struct {
	session *Session
	client  *vim25.Client
	begun   chan struct{} // has one place; somebody is in fresh

	mu      sync.Mutex // guards what follows
	pending map[types.ManagedObjectReference]*pending
	fresh   []types.ManagedObjectReference // nobody has looked at them yet
	view    *view.ListView                 // nil while there is none
	renew   func(error)                    // has the view made anew
	ended   []types.ManagedObjectReference // of the view
}

// pending is a task that somebody waits for: what it has reported so far comes in one update or in several.
type pending struct {
	end     chan taskEnd
	info    types.TaskInfo // for the watch alone
	watched bool           // it is in the view, or about to be
}

// taskEnd is what a task came to.
type taskEnd struct {
	result types.AnyType
	err    error
}

// taskFacts are the properties that say what a task came to.
var taskFacts = []string{"info.state", "info.error", "info.result"}

func newTasks(session *Session) *tasks {
	return &tasks{
		session: session, client: session.client, begun: make(chan struct{}, 1), pending: map[types.ManagedObjectReference]*pending{},
	}
}

// await returns what a task came to. When ctx ends first the task goes on.
func (t *tasks) await(ctx context.Context, started *object.Task, err error) (types.AnyType, error) {
	if err != nil {
		return nil, err
	}
	ref := started.Reference()
	end := make(chan taskEnd, 1)
	t.mu.Lock()
	t.pending[ref] = &pending{end: end}
	t.fresh = append(t.fresh, ref)
	t.mu.Unlock()
	select {
	case t.begun <- struct{}{}:
	default: // whoever looks next looks at it too
	}
	select {
	case e := <-end:
		return e.result, e.err
	case <-ctx.Done():
		t.deliver(ref, taskEnd{}) // nobody waits any more
		return nil, context.Cause(ctx)
	}
}

// look looks at tasks that have begun, as many at a time as began meanwhile, until ctx ends. Many have ended by then, and
// cost nobody a watch.
func (t *tasks) look(ctx context.Context) {
	for {
		select {
		case <-t.begun:
		case <-ctx.Done():
			return
		}
		t.mu.Lock()
		fresh := t.fresh
		t.fresh = nil
		t.mu.Unlock()
		t.read(ctx, fresh)
		t.watchRest(ctx, fresh)
	}
}

// read takes what some tasks have come to. Where it can't be read the watch finds out.
func (t *tasks) read(ctx context.Context, refs []types.ManagedObjectReference) {
	if len(refs) == 0 {
		return
	}
	var found []mo.Task
	if err := property.DefaultCollector(t.client).Retrieve(ctx, refs, taskFacts, &found); err != nil {
		logging.From(ctx).DebugContext(ctx, "tasks not read", "tasks", len(refs), "err", err)
		return
	}
	for _, f := range found {
		t.conclude(f.Self, f.Info)
	}
}

// watchRest puts those of some tasks that go on into the view, which waits for them where there is none now.
func (t *tasks) watchRest(ctx context.Context, refs []types.ManagedObjectReference) {
	t.mu.Lock()
	v := t.view
	var rest []types.ManagedObjectReference
	for _, ref := range refs {
		if p := t.pending[ref]; p != nil && !p.watched {
			p.watched = true
			rest = append(rest, ref)
		}
	}
	t.mu.Unlock()
	if v != nil && len(rest) > 0 {
		t.add(ctx, v, rest)
	}
}

// add puts tasks into the view. Where that fails the view is made anew, with every task that is pending.
func (t *tasks) add(ctx context.Context, v *view.ListView, refs []types.ManagedObjectReference) {
	unresolved, err := v.Add(ctx, refs)
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "tasks not watched yet", "tasks", len(refs), "err", err)
		t.mu.Lock()
		if t.view == v {
			t.renew(fmt.Errorf("watch tasks: %w", err))
		}
		t.mu.Unlock()
	}
	for _, r := range unresolved {
		t.deliver(r, taskEnd{err: vcenter.ErrTaskLost})
	}
}

// run delivers the ends of tasks until ctx ends.
func (t *tasks) run(ctx context.Context) {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := t.session.during(ctx, t.watch)
		if ctx.Err() != nil {
			return
		}
		logging.From(ctx).WarnContext(ctx, "tasks are watched anew", "err", err)
		if time.Since(began) > maxWaitSeconds*time.Second {
			pause = firstPause
		}
		_ = wait.For(ctx, pause) // the loop sees that ctx has ended
		pause = min(2*pause, lastPause)
	}
}

// watch makes a view of all that is pending, and delivers until it breaks.
func (t *tasks) watch(ctx context.Context) (err error) {
	ctx, renew := context.WithCancelCause(ctx)
	defer func() {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		renew(nil)
	}()
	v, err := view.NewManager(t.client).CreateListView(ctx, nil)
	if err != nil {
		return fmt.Errorf("make view of tasks: %w", err)
	}
	pc, err := property.DefaultCollector(t.client).Create(ctx)
	if err != nil {
		return fmt.Errorf("make collector of tasks: %w", err)
	}
	defer destroy(ctx, pc, v)
	filter := new(property.WaitFilter).Add(v.Reference(), "Task", taskFacts,
		&types.TraversalSpec{Type: "ListView", Path: "view"})
	filter.Spec.ObjectSet[0].Skip = new(true)
	if _, err := pc.CreateFilter(ctx, filter.CreateFilter); err != nil {
		return fmt.Errorf("make filter of tasks: %w", err)
	}
	t.mu.Lock()
	t.view, t.renew, t.ended = v, renew, nil
	var known []types.ManagedObjectReference
	for ref, p := range t.pending {
		p.watched = true
		known = append(known, ref)
	}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.view = nil
	}()
	if len(known) > 0 {
		t.add(ctx, v, known)
	}
	return follow(ctx, t.client, pc, func(updates []types.ObjectUpdate) error {
		for _, u := range updates {
			t.update(u)
		}
		t.sweep(ctx, v)
		return nil
	})
}

// update takes one change of a task.
func (t *tasks) update(u types.ObjectUpdate) {
	if u.Kind == types.ObjectUpdateKindLeave {
		return // it was swept
	}
	t.mu.Lock()
	p := t.pending[u.Obj]
	t.mu.Unlock()
	if p == nil {
		return // nobody waits for it any more
	}
	info := &p.info
	for _, c := range u.ChangeSet {
		switch v := c.Val.(type) {
		case types.TaskInfoState:
			info.State = v
		case types.LocalizedMethodFault:
			info.Error = &v
		default:
			if c.Name == "info.result" {
				info.Result = v
			}
		}
	}
	t.conclude(u.Obj, *info)
}

// conclude delivers the end of a task that has ended.
func (t *tasks) conclude(ref types.ManagedObjectReference, info types.TaskInfo) {
	switch info.State {
	case types.TaskInfoStateSuccess:
		t.deliver(ref, taskEnd{result: info.Result})
	case types.TaskInfoStateError:
		end := taskEnd{err: vcenter.ErrTaskLost}
		if info.Error != nil {
			end.err = task.Error{LocalizedMethodFault: info.Error}
		}
		t.deliver(ref, end)
	case types.TaskInfoStateQueued, types.TaskInfoStateRunning:
	}
}

func (t *tasks) deliver(ref types.ManagedObjectReference, end taskEnd) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to, ok := t.pending[ref]; ok {
		delete(t.pending, ref)
		to.end <- end
		if to.watched {
			t.ended = append(t.ended, ref)
		}
	}
}

// sweep takes ended tasks out of the view, many at a time.
func (t *tasks) sweep(ctx context.Context, v *view.ListView) {
	t.mu.Lock()
	ended := t.ended
	if len(ended) < sweepAt {
		t.mu.Unlock()
		return
	}
	t.ended = nil
	t.mu.Unlock()
	if _, err := v.Remove(ctx, ended); err != nil {
		logging.From(ctx).DebugContext(ctx, "ended tasks stay in the view", "err", err)
	}
}
