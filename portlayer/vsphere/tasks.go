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
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// maxWaitSeconds is how long one wait for updates may take: a lost session does not wake it.
	maxWaitSeconds = 60
	// sweepAt is how many ended tasks the view may hold: vSphere looks at all of a view at each change.
	sweepAt = 4
)

// tasks awaits all tasks with one list view and one collector.
type tasks struct {
	session *Session
	client  *vim25.Client

	mu      sync.Mutex // guards what follows
	pending map[types.ManagedObjectReference]*pending
	view    *view.ListView // nil while there is none
	renew   func(error)    // has the view made anew
	ended   []types.ManagedObjectReference
}

// pending is a task that somebody waits for: what it has told so far comes in one update or in several.
type pending struct {
	end  chan taskEnd
	info types.TaskInfo
}

// taskEnd is what a task came to.
type taskEnd struct {
	result types.AnyType
	err    error
}

func newTasks(session *Session) *tasks {
	return &tasks{session: session, client: session.client, pending: map[types.ManagedObjectReference]*pending{}}
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
	view := t.view
	t.mu.Unlock()
	if view != nil {
		t.add(ctx, view, ref)
	}
	select {
	case e := <-end:
		return e.result, e.err
	case <-ctx.Done():
		t.deliver(ref, taskEnd{}) // nobody waits any more
		return nil, context.Cause(ctx)
	}
}

// add puts a task into the view. Where that fails the view is made anew, with every task that is pending.
func (t *tasks) add(ctx context.Context, v *view.ListView, ref types.ManagedObjectReference) {
	unresolved, err := v.Add(ctx, []types.ManagedObjectReference{ref})
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "task not watched yet", "task", ref.Value, "err", err)
		t.mu.Lock()
		if t.view == v {
			t.renew(fmt.Errorf("watch a task: %w", err))
		}
		t.mu.Unlock()
	}
	for _, r := range unresolved {
		t.deliver(r, taskEnd{err: errTaskLost})
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
		wait(ctx, pause)
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
	filter := new(property.WaitFilter).Add(v.Reference(), "Task", []string{"info.state", "info.error", "info.result"},
		&types.TraversalSpec{Type: "ListView", Path: "view"})
	filter.Spec.ObjectSet[0].Skip = new(true)
	if _, err := pc.CreateFilter(ctx, filter.CreateFilter); err != nil {
		return fmt.Errorf("make filter of tasks: %w", err)
	}
	t.mu.Lock()
	t.view, t.renew, t.ended = v, renew, nil
	var known []types.ManagedObjectReference
	for ref := range t.pending {
		known = append(known, ref)
	}
	t.mu.Unlock()
	defer func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.view = nil
	}()
	for _, ref := range known {
		t.add(ctx, v, ref)
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
	info := &p.info // this goroutine alone has it
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
	switch info.State {
	case types.TaskInfoStateSuccess:
		t.deliver(u.Obj, taskEnd{result: info.Result})
	case types.TaskInfoStateError:
		end := taskEnd{err: errTaskLost}
		if info.Error != nil {
			end.err = task.Error{LocalizedMethodFault: info.Error}
		}
		t.deliver(u.Obj, end)
	case types.TaskInfoStateQueued, types.TaskInfoStateRunning:
	}
}

func (t *tasks) deliver(ref types.ManagedObjectReference, end taskEnd) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if to, ok := t.pending[ref]; ok {
		delete(t.pending, ref)
		to.end <- end
		t.ended = append(t.ended, ref)
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
