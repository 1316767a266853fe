package supervisor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	idBytes       = 32
	startFailCode = 128 // what Kubernetes' runtimes report for a process that never ran
)

// container is one container of the pod. status, spec and task are guarded by the Supervisor's mu; the rest belongs to
// run.
type container struct {
	s      *Supervisor
	status wire.ContainerStatus
	spec   wire.Container
	task   Task

	notBefore time.Time
	backoff   backoff
}

func newContainer(s *Supervisor, seed wire.Seed) *container {
	c := &container{s: s, notBefore: seed.NotBefore, backoff: backoff{delay: seed.Backoff, updated: time.Now()}}
	c.status = wire.ContainerStatus{
		Name: seed.Name, State: wire.ContainerWaiting, Reason: wire.ReasonContainerCreating,
		Last: seed.Last, RestartCount: seed.RestartCount, Final: seed.Final, Backoff: seed.Backoff,
	}
	if seed.Final && seed.Last != nil {
		c.status.State, c.status.Reason, c.status.Current = wire.ContainerTerminated, "", seed.Last
	}
	return c
}

// update changes the status and publishes it.
func (c *container) update(change func(*wire.ContainerStatus), events ...wire.Event) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	change(&c.status)
	for _, e := range events {
		e.Container = c.status.Name
		c.s.events.add(e)
	}
	c.s.changedLocked()
}

// run starts the container again and again, until it is final.
func (c *container) run(ctx context.Context) {
	ctx = logging.With(ctx, "container", c.spec.Name)
	if wait := time.Until(c.notBefore); wait > 0 {
		if !c.wait(wait, c.notBefore) {
			return
		}
		c.backoff.restarted(time.Now())
	}
	for {
		result, ok := c.attempt(ctx)
		if !ok || !c.settle(result) {
			return
		}
	}
}

// attempt runs the container once. It is not ok when the pod was stopped before the process ran.
func (c *container) attempt(ctx context.Context) (*wire.Terminated, bool) {
	a := Attempt{Container: c.spec, Number: c.status.RestartCount, ID: newID()}
	c.update(func(st *wire.ContainerStatus) {
		st.State, st.Reason, st.Message = wire.ContainerWaiting, wire.ReasonContainerCreating, ""
		st.NextStart, st.Backoff, st.LogBytes = time.Time{}, c.backoff.delay, 0
	})
	task, err := c.start(ctx, a)
	if err != nil {
		if c.isStopping() {
			c.giveUp()
			return nil, false
		}
		logging.From(ctx).WarnContext(ctx, "container did not start", "attempt", a.Number, "err", err)
		now := time.Now()
		return &wire.Terminated{
			ID: a.ID, ExitCode: startFailCode, Reason: wire.ReasonStartError,
			Message: Bounded(err.Error(), wire.MaxMessageBytes), StartedAt: now, FinishedAt: now, Attempt: a.Number,
		}, true
	}
	started := time.Now()
	c.running(a, task, started)
	c.watch(ctx, task)
	return terminated(a, task, started), true
}

// start stops waiting for disks when the pod is stopped.
func (c *container) start(ctx context.Context, a Attempt) (Task, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Ends with this call.
	go func() {
		select {
		case <-c.s.stopping:
			cancel()
		case <-ctx.Done():
		}
	}()
	return c.s.runtime.Start(ctx, a)
}

func (c *container) running(a Attempt, task Task, at time.Time) {
	c.s.mu.Lock()
	c.task = task
	c.s.mu.Unlock()
	c.update(func(st *wire.ContainerStatus) {
		st.State, st.Reason, st.ID, st.StartedAt = wire.ContainerRunning, "", a.ID, at
	},
		wire.Event{Reason: eventCreated, Message: "Container created"},
		wire.Event{Reason: eventStarted, Message: "Container started"})
}

func terminated(a Attempt, task Task, started time.Time) *wire.Terminated {
	r := task.Result()
	return &wire.Terminated{
		ID: a.ID, ExitCode: r.ExitCode, Signal: int32(r.Signal), Reason: r.reason(),
		Message:   Bounded(r.Message, wire.MaxMessageBytes),
		StartedAt: started, FinishedAt: r.FinishedAt, Attempt: a.Number, LogBytes: task.LogBytes(),
	}
}

// watch waits for the end of task, and brings it about when the pod is stopped.
func (c *container) watch(ctx context.Context, task Task) {
	select {
	case <-task.Done():
		return
	case <-c.s.stopping:
	}
	c.update(func(*wire.ContainerStatus) {},
		wire.Event{Reason: eventKilling, Message: "Stopping container " + c.spec.Name})
	sig, _ := parseSignal(c.spec.StopSignal) // was checked by Run
	if err := task.Signal(sig); err != nil {
		logging.From(ctx).WarnContext(ctx, "container was not signalled", "err", err)
	}
	for {
		c.s.mu.Lock()
		deadline, hastened := c.s.deadline, c.s.hastened
		c.s.mu.Unlock()
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-task.Done():
			timer.Stop()
			return
		case <-hastened:
			timer.Stop()
			continue
		case <-timer.C:
		}
		break
	}
	if err := task.Signal(syscall.SIGKILL); err != nil {
		logging.From(ctx).ErrorContext(ctx, "container was not killed", "err", err)
	}
	<-task.Done()
}

// settle records how an attempt ended, and waits for the next one. It is false when there will be none.
func (c *container) settle(t *wire.Terminated) bool {
	var events []wire.Event
	if t.Reason == wire.ReasonStartError {
		events = append(events, wire.Event{Warning: true, Reason: eventFailed, Message: "Error: " + t.Message})
	}
	again := c.restarts(t.ExitCode) && !c.isStopping()
	c.s.mu.Lock()
	c.task = nil
	c.s.mu.Unlock()
	c.update(func(st *wire.ContainerStatus) {
		st.ID, st.StartedAt, st.LogBytes = "", time.Time{}, t.LogBytes
		if again {
			st.Last, st.Current = t, nil
			st.State, st.Reason, st.Message = wire.ContainerWaiting, wire.ReasonContainerCreating, ""
			if t.Reason == wire.ReasonStartError {
				st.Reason, st.Message = wire.ReasonRunContainerError, t.Message
			}
			return
		}
		st.State, st.Reason, st.Message, st.Current, st.Final = wire.ContainerTerminated, "", "", t, true
	}, events...)
	if !again {
		return false
	}
	if delay := c.backoff.due(t.FinishedAt); delay > 0 && !c.wait(delay, t.FinishedAt.Add(delay)) {
		return false
	}
	c.backoff.restarted(time.Now())
	c.update(func(st *wire.ContainerStatus) { st.RestartCount++ })
	return true
}

func (c *container) restarts(code int32) bool {
	switch c.s.pod.RestartPolicy { // set before any container runs
	case restartAlways:
		return true
	case restartOnFailure:
		return code != 0
	default:
		return false
	}
}

// wait waits in back-off until due. It is false when the pod was stopped, and the container is final then.
func (c *container) wait(delay time.Duration, due time.Time) bool {
	pod := fmt.Sprintf("%s_%s(%s)", c.s.pod.Name, c.s.pod.Namespace, c.s.pod.UID)
	shown := c.backoff.delay
	if shown == 0 { // the host alone knows why
		shown = delay.Round(time.Second)
	}
	c.update(func(st *wire.ContainerStatus) {
		st.State, st.Reason, st.Backoff, st.NextStart = wire.ContainerWaiting, wire.ReasonCrashLoopBackOff, shown, due
		st.Message = fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", shown, c.spec.Name, pod)
	}, wire.Event{
		Warning: true, Reason: eventBackOff,
		Message: fmt.Sprintf("Back-off restarting failed container %s in pod %s", c.spec.Name, pod),
	})
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.s.stopping:
		c.giveUp()
		return false
	}
}

// giveUp makes a container final that does not run. How it ended before is how it has ended.
func (c *container) giveUp() {
	c.update(func(st *wire.ContainerStatus) {
		st.Final, st.NextStart = true, time.Time{}
		if st.Last != nil {
			st.State, st.Reason, st.Message, st.Current = wire.ContainerTerminated, "", "", st.Last
		}
	})
}

func (c *container) isStopping() bool {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.s.isStoppingLocked()
}

func newID() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// parseSignal takes a signal as images have it: SIGTERM, TERM, 15, SIGRTMIN+3. Empty is SIGTERM.
func parseSignal(s string) (syscall.Signal, error) {
	const rtMin, last = 34, 64 // as libc has them
	if s == "" {
		return syscall.SIGTERM, nil
	}
	if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= last {
		return syscall.Signal(n), nil
	}
	name := "SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	if offset, ok := strings.CutPrefix(name, "SIGRTMIN"); ok {
		n, err := strconv.Atoi("0" + strings.TrimPrefix(offset, "+"))
		if err == nil && rtMin+n <= last {
			return syscall.Signal(rtMin + n), nil
		}
	}
	return 0, fmt.Errorf("stop signal %q is %w", s, ErrInvalid)
}
