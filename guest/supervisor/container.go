package supervisor

import (
	"context"
	"fmt"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// container is one container of the pod.
type container struct {
	s    *Supervisor
	role wire.Role

	// Guarded by the Supervisor's mu.
	status      wire.ContainerStatus
	spec        wire.Container
	replaced    chan struct{} // closed and replaced when spec is another revision
	task        Task          // while its process runs
	active      bool          // an attempt is under way
	begun       bool          // an attempt got as far as running or failing, after its postStart hook
	initialized bool          // of an init container: it ended well; of a sidecar: it has started

	// These belong to run.
	notBefore time.Time
	backoff   backoff
}

func newContainer(s *Supervisor, seed wire.Seed) *container {
	c := &container{
		s: s, role: seed.Role, replaced: make(chan struct{}),
		notBefore: seed.NotBefore, backoff: backoff{delay: seed.Backoff, updated: time.Now()},
	}
	c.status = wire.ContainerStatus{
		Name: seed.Name, State: wire.ContainerWaiting, Reason: s.creatingReason(),
		Last: seed.Last, RestartCount: seed.RestartCount, Final: seed.Final, Backoff: seed.Backoff,
	}
	if seed.Final && seed.Last != nil {
		c.status.State, c.status.Reason, c.status.Current = wire.ContainerTerminated, "", seed.Last
		c.initialized = seed.Role == wire.RoleInit && seed.Last.ExitCode == 0
	}
	return c
}

// creatingReason is why a container waits that was not started yet. It needs s.pod alone.
func (s *Supervisor) creatingReason() string {
	for _, seed := range s.pod.Containers {
		if precedes(seed.Role) {
			return wire.ReasonPodInitializing
		}
	}
	return wire.ReasonContainerCreating
}

// update changes the status and publishes it.
func (c *container) update(change func(*wire.ContainerStatus), events ...wire.Event) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	change(&c.status)
	c.reportLocked(events...)
}

func (c *container) reportLocked(events ...wire.Event) {
	for _, e := range events {
		e.Container = c.status.Name
		c.s.events.add(e, "")
	}
	c.s.changedLocked()
}

// event lets a user see what happens to the container.
func (c *container) event(e wire.Event) { c.update(func(*wire.ContainerStatus) {}, e) }

// replaceLocked gives the container another revision. What runs by the former one ends and is started anew, except for an
// init container, which goes on; what is final stays as it is.
func (c *container) replaceLocked(spec wire.Container) {
	c.spec, c.status.Revision = spec, spec.Revision
	close(c.replaced)
	c.replaced = make(chan struct{})
}

// run starts the container again and again, until it is final.
func (c *container) run(ctx context.Context) {
	ctx = logging.With(ctx, "container", c.status.Name)
	if !c.awaitTurn() {
		return
	}
	if wait := time.Until(c.notBefore); wait > 0 && !c.wait(wait, c.notBefore) {
		return
	}
	for restart := false; ; {
		a := c.begin(restart)
		end, ok := a.run(ctx)
		if !ok {
			c.giveUp()
			return
		}
		restart = end != nil
		if restart && !c.settle(a, end) {
			return
		}
	}
}

// awaitTurn waits until those before the container are initialized. It is false when the pod ended first, and the
// container is final then.
func (c *container) awaitTurn() bool {
	for {
		c.s.mu.Lock()
		ending, turn, changed := c.s.isEndingLocked(), c.s.mayStartLocked(c), c.s.changed
		c.s.mu.Unlock()
		switch {
		case ending:
			c.giveUp()
			return false
		case turn:
			return true
		}
		<-changed // at the latest when the pod ends
	}
}

// begin makes the next attempt, a restart where one has come to its end.
func (c *container) begin(restart bool) *attempt {
	a := &attempt{c: c}
	c.update(func(st *wire.ContainerStatus) {
		if restart {
			st.RestartCount++
		}
		a.Attempt = Attempt{Container: c.spec, Number: st.RestartCount, ID: newID()}
		a.replaced = c.replaced
		if st.Last != nil {
			a.former = st.Last.FinishedAt
		}
		c.active = true
		st.State, st.Reason, st.Message = wire.ContainerWaiting, c.s.creatingReason(), ""
		st.NextStart, st.Backoff, st.LogBytes = time.Time{}, c.backoff.delay, 0
	})
	return a
}

// settle records how an attempt ended, and waits for the next one. It is false when there will be none.
func (c *container) settle(a *attempt, t *wire.Terminated) bool {
	var events []wire.Event
	if t.Reason == wire.ReasonStartError {
		events = append(events, wire.Event{Warning: true, Reason: eventFailed, Message: "Error: " + t.Message})
	}
	if !c.record(a, t, events) {
		return false
	}
	delay := c.delay(a, t)
	return delay <= 0 || c.wait(delay, t.FinishedAt.Add(delay))
}

// record keeps how an attempt ended, lets the host know, and reports whether the container is started again.
func (c *container) record(a *attempt, t *wire.Terminated, events []wire.Event) (again bool) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.task, c.active, c.begun = nil, false, true
	again = !c.s.isEndingLocked() && restarts(c.s.pod, a.Container, c.role, a.why, t.ExitCode)
	st := &c.status
	st.ID, st.StartedAt, st.LogBytes, st.Started, st.Ready = "", time.Time{}, t.LogBytes, false, false
	if again {
		st.Last, st.Current = t, nil
		st.State, st.Reason, st.Message = wire.ContainerWaiting, c.s.creatingReason(), ""
		if t.Reason == wire.ReasonStartError {
			st.Reason, st.Message = wire.ReasonRunContainerError, t.Message
		}
	} else {
		st.State, st.Reason, st.Message, st.Current, st.Final = wire.ContainerTerminated, "", "", t, true
		c.initialized = c.initialized || c.role == wire.RoleInit && t.ExitCode == 0
	}
	c.reportLocked(events...)
	return again
}

// delay is how long the restart after an attempt that ended like t waits.
func (c *container) delay(a *attempt, t *wire.Terminated) time.Duration {
	switch {
	case a.why == causeRevision:
		c.backoff = backoff{}
		return 0
	case a.why == causeProbe && a.former.IsZero():
		return 0
	case a.why == causeProbe && time.Since(a.former) >= c.backoff.due(a.former):
		// The kubelet starts what it kills in the same step, in which it sees only the end before this one.
		c.backoff.restarted(time.Now())
		return 0
	}
	delay := c.backoff.due(t.FinishedAt)
	if delay == 0 {
		c.backoff.restarted(time.Now())
	}
	return delay
}

// wait waits in back-off until due, or until another revision came. It is false when the pod ended, and the container is
// final then.
func (c *container) wait(delay time.Duration, due time.Time) bool {
	pod := fmt.Sprintf("%s_%s(%s)", c.s.pod.Name, c.s.pod.Namespace, c.s.pod.UID)
	shown := c.backoff.delay
	if shown == 0 { // the host alone knows why
		shown = delay.Round(time.Second)
	}
	var replaced <-chan struct{}
	c.update(func(st *wire.ContainerStatus) {
		replaced = c.replaced
		st.State, st.Reason, st.Backoff, st.NextStart = wire.ContainerWaiting, wire.ReasonCrashLoopBackOff, shown, due
		st.Message = fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", shown, st.Name, pod)
	}, wire.Event{
		Warning: true, Reason: eventBackOff,
		Message: fmt.Sprintf("Back-off restarting failed container %s in pod %s", c.status.Name, pod),
	})
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		c.backoff.restarted(time.Now())
		return true
	case <-replaced:
		c.backoff = backoff{}
		return true
	case <-c.s.ending:
		c.giveUp()
		return false
	}
}

// giveUp makes a container final that does not run. How it ended before is how it has ended.
func (c *container) giveUp() {
	c.update(func(st *wire.ContainerStatus) {
		c.active = false
		st.Final, st.NextStart = true, time.Time{}
		if st.Last != nil {
			st.State, st.Reason, st.Message, st.Current = wire.ContainerTerminated, "", "", st.Last
		}
	})
}
