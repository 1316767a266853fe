package supervisor

import (
	"context"
	"errors"
	"time"

	"github.com/virtual-kubelet/vic/guest/probe"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// target is the container for probes and hooks.
func (a *attempt) target() probe.Target {
	t := probe.Target{Execer: a.task, Address: "127.0.0.1"} // where the pod has no address of its own
	a.c.s.mu.Lock()
	defer a.c.s.mu.Unlock()
	if len(a.c.s.addresses) > 0 {
		t.Address = a.c.s.addresses[0].String()
	}
	return t
}

// postStart runs the hook after the start. It is false when the hook failed, and the process has ended then, or when it
// was cut short by the end of the process or of the pod, or by another revision.
func (a *attempt) postStart(ctx context.Context) bool {
	if a.Container.PostStart == nil {
		return true
	}
	hookCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := a.hook(hookCtx, *a.Container.PostStart)
	select {
	case err := <-done:
		if err == nil {
			return true
		}
		logging.From(ctx).WarnContext(ctx, "postStart hook failed") // its command and output may hold secrets
		a.c.event(wire.Event{Warning: true, Reason: eventFailedPostStart, Message: "PostStartHook failed"})
		a.end(ctx, eventFailedPostStart, time.Now().Add(a.c.s.pod.Grace))
	case <-a.task.Done():
	case <-a.c.s.ending:
	case <-a.replaced:
	}
	return false
}

// preStop runs the hook before the stop signal, for as long as there is time.
func (a *attempt) preStop(ctx context.Context, own time.Time) {
	deadline, _ := a.c.s.endsBy(own)
	if a.Container.PreStop == nil || !deadline.After(time.Now()) {
		return
	}
	hookCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := a.hook(hookCtx, *a.Container.PreStop)
	over := make(chan struct{})
	// Ends with the hook, or when it is cut short.
	go func() {
		defer close(over)
		select {
		case err := <-failed:
			if err != nil && !isClosed(a.task.Done()) {
				logging.From(ctx).WarnContext(ctx, "preStop hook failed")
				a.c.event(wire.Event{Warning: true, Reason: eventFailedPreStop, Message: "PreStopHook failed"})
			}
		case <-a.task.Done():
		case <-hookCtx.Done():
		}
	}()
	a.within(own, time.Time{}, over)
}

// hook runs a hook aside and sends how it ended. The channel has room for an answer that nobody waits for.
func (a *attempt) hook(ctx context.Context, action wire.Action) <-chan error {
	done := make(chan error, 1)
	// Ends with the hook, soon after ctx.
	go func() {
		err := a.c.s.Hooks.Hook(ctx, action, a.target())
		if errors.Is(err, probe.ErrPlain) {
			a.c.event(wire.Event{
				Warning: true, Reason: eventHookFallback,
				Message: "request to HTTPS lifecycle hook got HTTP response, retry with HTTP succeeded",
			})
			err = nil
		}
		done <- err
	}()
	return done
}
