package vsphere

import (
	"context"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// keeper keeps something beside pods in line with them: at the beginning, and after each change. What it fails at holds up no
// pod, is reported once, and tried again.
type keeper struct {
	// what is kept, in the words of a log.
	what string
	// pause is how long changes are gathered, and retry how long a failure is left alone.
	pause, retry time.Duration
	// apply does what there is to do; it may be nothing.
	apply func(ctx context.Context) error
}

// keep runs a keeper until ctx ends.
func (h *Hypervisor) keep(ctx context.Context, k keeper) {
	changed, stop := h.changed.FollowAll()
	defer stop()
	failed := false
	for ctx.Err() == nil {
		err := k.apply(ctx)
		if ctx.Err() != nil {
			return
		}
		k.report(ctx, err, failed)
		if failed = err != nil; failed {
			_ = wait.For(ctx, k.retry) // the loop sees that ctx has ended
			continue
		}
		gather(ctx, changed, k.pause)
	}
}

// gather waits for a change, and for a while for others.
func gather(ctx context.Context, changed <-chan struct{}, pause time.Duration) {
	select {
	case <-changed:
	case <-ctx.Done():
		return
	}
	_ = wait.For(ctx, pause) // the caller sees that ctx has ended
	select {
	case <-changed:
	default:
	}
}

func (k keeper) report(ctx context.Context, err error, failed bool) {
	switch {
	case err != nil && !failed:
		logging.From(ctx).WarnContext(ctx, "pods run without "+k.what, "err", vcenter.Translate(err)) //nolint:sloglint // one message each
	case err == nil && failed:
		logging.From(ctx).InfoContext(ctx, "pods have "+k.what+" again") //nolint:sloglint // one message each
	}
}
