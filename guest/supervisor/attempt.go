package supervisor

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"syscall"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	idBytes       = 32
	startFailCode = 128 // what Kubernetes' runtimes report for a process that never ran
	// minGrace is what every process has between its stop signal and SIGKILL, as with the kubelet.
	minGrace = 2 * time.Second
)

// attempt is one start of a container and what becomes of it. It belongs to the container's run.
type attempt struct {
	Attempt
	c        *container
	replaced <-chan struct{} // closed when another revision came
	task     Task
	started  time.Time
	former   time.Time // when the attempt before it ended; zero where there was none
	why      cause
}

// run starts the container's process and stays until it has ended. It is not ok when the pod ended before the process
// ran, and without an end when another revision came before that.
func (a *attempt) run(ctx context.Context) (end *wire.Terminated, ok bool) {
	if err := a.start(ctx); err != nil {
		switch {
		case a.c.s.isEnding():
			return nil, false
		case isClosed(a.replaced):
			return nil, true
		}
		logging.From(ctx).WarnContext(ctx, "container did not start", "attempt", a.Number, "err", err)
		now := time.Now()
		return &wire.Terminated{
			ID: a.ID, ExitCode: startFailCode, Reason: wire.ReasonStartError,
			Message: Bounded(err.Error(), wire.MaxMessageBytes), StartedAt: now, FinishedAt: now, Attempt: a.Number,
		}, true
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of probes
	a.publish()
	var failed <-chan *monitor
	if a.postStart(ctx) {
		a.running()
		failed = a.probe(ctx)
	}
	a.watch(ctx, failed)
	return a.terminated(), true
}

// start stops waiting for disks when the pod ends or another revision comes.
func (a *attempt) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// Ends with this call.
	go func() {
		select {
		case <-a.c.s.ending:
		case <-a.replaced:
		case <-ctx.Done():
		}
		cancel()
	}()
	a.task, err = a.c.s.Runtime.Start(ctx, a.Attempt)
	a.started = time.Now()
	return err
}

// publish makes known that the process runs. The container counts as running when its postStart hook has ended.
func (a *attempt) publish() {
	a.c.update(func(*wire.ContainerStatus) { a.c.task = a.task },
		wire.Event{Reason: eventCreated, Message: "Container created"},
		wire.Event{Reason: eventStarted, Message: "Container started"})
}

func (a *attempt) running() {
	a.c.update(func(st *wire.ContainerStatus) {
		a.c.begun = true
		st.State, st.Reason, st.ID, st.StartedAt = wire.ContainerRunning, "", a.ID, a.started
		if a.Container.StartupProbe == nil {
			a.startedLocked(st)
		}
	})
}

// startedLocked records that the container has started up.
func (a *attempt) startedLocked(st *wire.ContainerStatus) {
	st.Started = true
	st.Ready = a.Container.ReadinessProbe == nil && (a.c.role == wire.RoleApp || a.c.role == wire.RoleSidecar)
	a.c.initialized = a.c.initialized || a.c.role == wire.RoleSidecar
}

func (a *attempt) terminated() *wire.Terminated {
	r := a.task.Result()
	return &wire.Terminated{
		ID: a.ID, ExitCode: r.ExitCode, Signal: int32(r.Signal), Reason: r.reason(),
		Message:   Bounded(r.Message, wire.MaxMessageBytes),
		StartedAt: a.started, FinishedAt: r.FinishedAt, Attempt: a.Number, LogBytes: a.task.LogBytes(),
	}
}

// watch waits for the end of the process, and brings it about when there is a reason.
func (a *attempt) watch(ctx context.Context, failed <-chan *monitor) {
	replaced := a.replaced
	if a.c.role == wire.RoleInit || a.c.role == wire.RoleEphemeral {
		replaced = nil // they go on
	}
	select {
	case <-a.task.Done():
	case <-a.c.s.ending:
		a.end(ctx, "Stopping container "+a.Container.Name, time.Time{})
	case <-replaced:
		a.why = causeRevision
		a.end(ctx, a.killing("definition changed"), time.Now().Add(a.c.s.pod.Grace))
	case m := <-failed:
		a.why = causeProbe
		grace := a.c.s.pod.Grace
		if m.spec.Grace != nil {
			grace = *m.spec.Grace
		}
		a.end(ctx, a.killing("failed "+m.failing()), time.Now().Add(grace))
	}
}

// killing is the kubelet's message for a container that is killed and may be started again.
func (a *attempt) killing(why string) string {
	if a.c.role == wire.RoleSidecar {
		return "Init container " + a.Container.Name + " " + why
	}
	message := "Container " + a.Container.Name + " " + why
	if a.why == causeRevision || cmp.Or(a.Container.RestartPolicy, a.c.s.pod.RestartPolicy) != restartNever {
		message += ", will be restarted"
	}
	return message
}

// end ends the process within its own deadline and the pod's, which a zero one leaves alone.
func (a *attempt) end(ctx context.Context, message string, own time.Time) {
	if isClosed(a.task.Done()) {
		return
	}
	a.c.event(wire.Event{Reason: eventKilling, Message: message})
	a.preStop(ctx, own)
	a.awaitTurn(own)
	sig, _ := parseSignal(a.Container.StopSignal) // was checked by Run
	if err := a.task.Signal(sig); err != nil {
		logging.From(ctx).WarnContext(ctx, "container was not signalled", "err", err)
	}
	if a.within(own, time.Now().Add(minGrace), a.task.Done()) {
		return
	}
	if err := a.task.Signal(syscall.SIGKILL); err != nil {
		logging.From(ctx).ErrorContext(ctx, "container was not killed", "err", err)
	}
	<-a.task.Done()
}

// awaitTurn waits in a pod that ends until those have ended that are to go first.
func (a *attempt) awaitTurn(own time.Time) {
	for {
		a.c.s.mu.Lock()
		turn := !a.c.s.isEndingLocked() || a.c.s.mayEndLocked(a.c)
		changed := a.c.s.changed
		a.c.s.mu.Unlock()
		if turn || isClosed(a.task.Done()) || !a.within(own, time.Time{}, changed) {
			return
		}
	}
}

// within waits for what until the deadline, own or the pod's, but not less than until atLeast.
func (a *attempt) within(own, atLeast time.Time, what <-chan struct{}) bool {
	for {
		deadline, changed := a.c.s.endsBy(own)
		if atLeast.After(deadline) {
			deadline = atLeast
		}
		timer := time.NewTimer(time.Until(deadline))
		select {
		case <-what:
			timer.Stop()
			return true
		case <-changed:
			timer.Stop()
		case <-timer.C:
			return false
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func newID() string {
	var b [idBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
