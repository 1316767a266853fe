package portlayer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/tracing"
)

const (
	// syncTimeout is how long a guest may take to answer a power-off, offTimeout how long its VM may then take to stop.
	syncTimeout = 5 * time.Second
	offTimeout  = 10 * time.Second
	// cutTimeout is what pulling the plug has left when the caller's time is over.
	cutTimeout = 30 * time.Second
	// consoleTail is how much of a console an error quotes, and consoleTimeout what reading it may take.
	consoleTail    = 4 << 10
	consoleTimeout = 5 * time.Second
)

// Start powers the VM on and waits until its guest has greeted and the guest's first snapshot is there.
func (e *Engine) Start(ctx context.Context, uid string) error {
	w, stop := e.hub.subscribe(uid)
	defer stop()
	if err := e.powerOn(ctx, uid); err != nil {
		return fmt.Errorf("start pod VM %s: %w", uid, err)
	}
	greeting, end := tracing.Start(ctx, "await greeting", tracing.PodUID(uid))
	err := e.awaitGreeting(greeting, uid, w)
	end(err)
	if err != nil {
		return fmt.Errorf("start pod VM %s: %w", uid, err)
	}
	return nil
}

func (e *Engine) powerOn(ctx context.Context, uid string) error {
	giveBack, err := e.turns.Take(ctx, uid)
	if err != nil {
		return err
	}
	defer giveBack()
	p := e.present(uid)
	if p == nil {
		return ErrNotFound
	}
	was := p.view().State
	if was != StateRunning && !was.CanBecome(StateRunning) {
		return fmt.Errorf("state %s: %w", was, ErrNotRunning)
	}
	if err := e.config.Hypervisor.PowerOn(ctx, uid); err != nil {
		_ = e.refresh(ctx) // the loop tries again; PowerOn's error says more
		return err
	}
	if err := e.refresh(ctx); err != nil {
		return err
	}
	if was != StateRunning {
		p.noteBoot()
	}
	return nil
}

// noteBoot notes that the boot which runs is ours, unless its guest was quick and has greeted already.
func (p *pod) noteBoot() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.link == nil {
		return
	}
	if bootID, _ := p.link.Greeted(); bootID == "" {
		p.booted = p.vm.StartedAt
	}
}

// awaitGreeting returns when the guest has greeted, or with the reason why it will not.
func (e *Engine) awaitGreeting(ctx context.Context, uid string, w *watcher) error {
	for {
		p := e.present(uid)
		if p == nil {
			return &PowerError{UID: uid, Reason: "the VM is gone"}
		}
		p.mu.Lock()
		vm, link := p.vm, p.link
		p.mu.Unlock()
		switch {
		case vm.State != StateRunning:
			return e.powerError(ctx, vm)
		case link == nil:
			return fmt.Errorf("node %s: %w", vm.Spec.Identity.NodeName, ErrUnsupported)
		}
		if _, open := link.Greeted(); open {
			return nil
		}
		select {
		case <-w.wake:
			w.take()
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return &SilentBootError{Cause: ctx.Err(), Console: e.consoleEnd(ctx, uid)}
		}
	}
}

// powerError says why the VM does not run, with the end of its console.
func (e *Engine) powerError(ctx context.Context, vm VM) error {
	reason := vm.StopReason
	if reason == "" {
		reason = "it was powered off"
	}
	return &PowerError{UID: vm.UID(), Reason: reason, Console: e.consoleEnd(ctx, vm.UID())}
}

// consoleEnd is the end of a console for an error, and empty where it can't be read: the error is what matters. It outlives
// ctx, whose end may be that error.
func (e *Engine) consoleEnd(ctx context.Context, uid string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), consoleTimeout)
	defer cancel()
	console, err := e.config.Hypervisor.Console(ctx, uid)
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "console could not be read", "podUID", uid, "err", err)
		return ""
	}
	return string(console[max(0, len(console)-consoleTail):])
}

// PowerOff lets the guest sync, and cuts the power when it does not answer or ctx ends. A stopped or missing VM is no
// error.
func (e *Engine) PowerOff(ctx context.Context, uid string) error {
	p := e.present(uid)
	if p == nil {
		return nil
	}
	if p.view().State == StateRunning {
		e.askOff(ctx, p)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutTimeout)
	defer cancel()
	giveBack, err := e.turns.Take(ctx, uid)
	if err != nil {
		return fmt.Errorf("power off pod VM %s: %w", uid, err)
	}
	defer giveBack()
	if err := e.cut(ctx, uid); err != nil {
		return fmt.Errorf("power off pod VM %s: %w", uid, err)
	}
	return nil
}

func (e *Engine) cut(ctx context.Context, uid string) error {
	if err := e.config.Hypervisor.PowerOff(ctx, uid); err != nil {
		return err
	}
	return e.refresh(ctx)
}

// askOff asks the guest to power its VM off and waits for that, for a while.
func (e *Engine) askOff(ctx context.Context, p *pod) {
	w, stop := e.hub.subscribe(p.uid)
	defer stop()
	link, err := e.guestOf(p)
	if err != nil {
		return
	}
	asking, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if err := link.PowerOff(asking); err != nil {
		logging.From(ctx).WarnContext(ctx, "guest did not power off", "podUID", p.uid, "err", err)
		return
	}
	ctx, cancelOff := context.WithTimeout(ctx, offTimeout)
	defer cancelOff()
	for p.view().State == StateRunning && ctx.Err() == nil {
		select {
		case <-w.wake:
			w.take()
		case <-ctx.Done():
		}
	}
}

// Remove destroys the VM, a running one too, and releases its address. A missing one is no error.
func (e *Engine) Remove(ctx context.Context, uid string) error {
	giveBack, err := e.turns.Take(ctx, uid)
	if err != nil {
		return fmt.Errorf("remove pod VM %s: %w", uid, err)
	}
	defer giveBack()
	if p := e.present(uid); p != nil && !p.view().State.CanBecome(StateRemoved) {
		if err := e.cut(ctx, uid); err != nil {
			return fmt.Errorf("remove pod VM %s: power off: %w", uid, err)
		}
	}
	if err := e.config.Hypervisor.Destroy(ctx, uid); err != nil {
		return fmt.Errorf("remove pod VM %s: %w", uid, err)
	}
	if err := e.refresh(ctx); err != nil {
		return fmt.Errorf("remove pod VM %s: %w", uid, err)
	}
	return nil
}

// Forget deletes the snapshots and logs that are kept of a pod whose VM is gone. ErrExists while it is there.
func (e *Engine) Forget(ctx context.Context, uid string) error {
	giveBack, err := e.turns.Take(ctx, uid)
	if err != nil {
		return fmt.Errorf("forget pod VM %s: %w", uid, err)
	}
	defer giveBack()
	if e.present(uid) != nil {
		return fmt.Errorf("forget pod VM %s: %w", uid, ErrExists)
	}
	if err := e.store.Remove(uid); err != nil {
		return fmt.Errorf("forget pod VM %s: %w", uid, err)
	}
	e.drop(uid)
	e.hub.tell(uid)
	return nil
}
