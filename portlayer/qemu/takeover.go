package qemu

import (
	"context"
	"errors"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
)

// takeOverAll makes this process the holder of every VM that no other process holds. It waits for that, but for at most
// adoptPatience: a VM that can't be taken over at once is no reason to leave the others alone, and is shown from disk.
func (h *Hypervisor) takeOverAll(ctx context.Context, uids []string) {
	patience := time.NewTimer(adoptPatience)
	defer patience.Stop()
	var waiting []<-chan struct{}
	for _, uid := range uids {
		if v, err := h.find(uid); err == nil && !v.claimed() {
			waiting = append(waiting, h.takeOver(ctx, uid))
		}
	}
	for _, done := range waiting {
		select {
		case <-done:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// takeOver claims a VM aside, once however many ask, and returns a channel that is closed when it has or could not.
func (h *Hypervisor) takeOver(ctx context.Context, uid string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if done, ok := h.claiming[uid]; ok {
		return done
	}
	done := make(chan struct{})
	h.claiming[uid] = done
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	// Ends when the VM is claimed, when its QEMU can't be reached in time, or with Close.
	h.claims.Go(func() {
		defer cancel()
		h.claimAside(ctx, uid)
		h.mu.Lock()
		delete(h.claiming, uid)
		h.mu.Unlock()
		close(done)
	})
	h.claims.Go(func() { // ends with the one above
		select {
		case <-h.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	return done
}

func (h *Hypervisor) claimAside(ctx context.Context, uid string) {
	_, unlock, err := h.change(ctx, uid)
	switch {
	case err == nil:
		unlock()
		h.changed.Notify(uid)
	case errors.Is(err, portlayer.ErrNotFound), errors.Is(err, portlayer.ErrBusy), ctx.Err() != nil:
		// It was destroyed, is another process's, or the next look tries again. What is on disk of it is still true.
		logging.From(ctx).DebugContext(ctx, "pod VM not taken over", "vm", uid, "err", err)
	default:
		logging.From(ctx).WarnContext(ctx, "pod VM left unclaimed", "vm", uid, "err", err)
	}
}
