package qemu

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

// tend looks after a running VM in a goroutine that ends when the process does, or when we let go of it.
func (h *Hypervisor) tend(ctx context.Context, v *podVM, p *process) {
	ctx = context.WithoutCancel(ctx)
	h.tending.Go(func() {
		ticker := time.NewTicker(tendInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				h.drain(ctx, v, p)
				h.resume(ctx, v, p)
			case <-p.halted:
				h.halt(ctx, v, p)
			case <-p.ended:
				h.ended(ctx, v, p)
				return
			case <-p.released:
				return
			}
		}
	})
}

// halt ends a QEMU whose guest executes no more, once its last words are kept.
func (h *Hypervisor) halt(ctx context.Context, v *podVM, p *process) {
	h.drain(ctx, v, p)
	if tail, err := v.consoleTail(); err == nil {
		p.explain(tail)
	}
	if err := undo(ctx, p.end); err != nil {
		logging.From(ctx).ErrorContext(ctx, "QEMU of a stopped guest goes on", "vm", v.uid, "err", err)
	}
}

// resume lets a VM go on that paused because the VCH had no space, once there is some.
func (h *Hypervisor) resume(ctx context.Context, v *podVM, p *process) {
	if !p.isPaused() {
		return
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(string(h.layout), &fs); err != nil || int64(fs.Bavail)*fs.Bsize < roomToResume {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	if err := p.execute(ctx, qmp.Command{Name: "cont"}, nil); err != nil {
		logging.From(ctx).WarnContext(ctx, "pod VM stays paused", "vm", v.uid, "err", err)
		return
	}
	logging.From(ctx).InfoContext(ctx, "pod VM went on after the VCH got space", "vm", v.uid)
}
