package podvm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/tracing"
	"github.com/virtual-kubelet/vic/portlayer"
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

// Start implements Lives. The guest's first snapshot is there when it returns.
func (h *Host) Start(ctx context.Context, id string) error {
	changed, stop := h.hub.Follow(id)
	defer stop()
	began, err := h.layer.PowerOn(ctx, id)
	if err != nil {
		return err
	}
	if p := h.present(id); began && p != nil {
		p.markBoot()
	}
	greeting, end := tracing.Start(ctx, "await greeting", tracing.VM(id))
	err = h.awaitGreeting(greeting, id, changed)
	end(err)
	if err != nil {
		return fmt.Errorf("await guest of VM %s: %w", id, err)
	}
	return nil
}

// markBoot marks the boot that runs as ours, unless its guest was quick and has greeted already.
func (p *pod) markBoot() {
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
func (h *Host) awaitGreeting(ctx context.Context, id string, changed <-chan struct{}) error {
	for {
		p := h.present(id)
		if p == nil {
			return &portlayer.PowerError{Reason: "the VM is gone"}
		}
		p.mu.Lock()
		vm, link := p.vm, p.link
		p.mu.Unlock()
		switch {
		case vm.State != portlayer.StateRunning:
			return h.powerError(ctx, vm)
		case link == nil:
			return fmt.Errorf("it is of node %q of cluster %q: %w", vm.Spec.Owner.Node, vm.Spec.Owner.Cluster, portlayer.ErrUnsupported)
		}
		if _, open := link.Greeted(); open {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.Canceled) {
				return ctx.Err()
			}
			return &portlayer.SilentBootError{Cause: ctx.Err(), Console: h.consoleEnd(ctx, id)}
		}
	}
}

// powerError says why the VM does not run, with the end of its console.
func (h *Host) powerError(ctx context.Context, vm portlayer.VM) error {
	reason := vm.StopReason
	if reason == "" {
		reason = "it was powered off"
	}
	return &portlayer.PowerError{Reason: reason, Console: h.consoleEnd(ctx, vm.ID())}
}

// consoleEnd is the end of a console for an error, and empty where it can't be read: the error is what matters. It outlives
// ctx, whose end may be that error.
func (h *Host) consoleEnd(ctx context.Context, id string) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), consoleTimeout)
	defer cancel()
	console, err := h.layer.Console(ctx, id)
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "console could not be read", "vm", id, "err", err)
		return ""
	}
	return string(console[max(0, len(console)-consoleTail):])
}

// PowerOff implements Lives. A stopped or missing VM is not an error.
func (h *Host) PowerOff(ctx context.Context, id string) error {
	p := h.present(id)
	if p == nil {
		return nil
	}
	if p.view().State == portlayer.StateRunning {
		h.askOff(ctx, p)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutTimeout)
	defer cancel()
	return h.layer.PowerOff(ctx, id)
}

// askOff asks the guest to power its VM off and waits for that, for a while.
func (h *Host) askOff(ctx context.Context, p *pod) {
	changed, stop := h.hub.Follow(p.id)
	defer stop()
	link, err := h.guestOf(p)
	if err != nil {
		return
	}
	asking, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	if err := link.PowerOff(asking); err != nil {
		logging.From(ctx).WarnContext(ctx, "guest did not power off", "vm", p.id, "err", err)
		return
	}
	ctx, cancelOff := context.WithTimeout(ctx, offTimeout)
	defer cancelOff()
	for p.view().State == portlayer.StateRunning && ctx.Err() == nil {
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// Remove implements Lives. A missing VM is not an error.
func (h *Host) Remove(ctx context.Context, id string) error { return h.layer.Destroy(ctx, id) }

// Forget implements Lives. ErrExists while the VM is there.
func (h *Host) Forget(ctx context.Context, id string) error {
	err := h.layer.Alone(ctx, id, func(_ portlayer.VM, there bool) error {
		if there {
			return portlayer.ErrExists
		}
		if err := h.store.Remove(id); err != nil {
			return err
		}
		h.drop(id)
		return nil
	})
	if err != nil {
		return fmt.Errorf("forget pod VM %s: %w", id, err)
	}
	h.hub.Notify(id)
	return nil
}
