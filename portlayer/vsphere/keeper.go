package vsphere

import (
	"context"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
)

// keeper keeps something beside pods in line with them: at the beginning, and after each change. What it fails at holds up no
// pod, is told once, and tried again.
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
	changes := h.Watch(ctx)
	failed := false
	for ctx.Err() == nil {
		err := k.apply(ctx)
		if ctx.Err() != nil {
			return
		}
		k.tell(ctx, err, failed)
		if failed = err != nil; failed {
			wait(ctx, k.retry)
			continue
		}
		gather(ctx, changes, k.pause)
	}
}

func (k keeper) tell(ctx context.Context, err error, failed bool) {
	switch {
	case err != nil && !failed:
		logging.From(ctx).WarnContext(ctx, "pods run without "+k.what, "err", translate(err)) //nolint:sloglint // one message each
	case err == nil && failed:
		logging.From(ctx).InfoContext(ctx, "pods have "+k.what+" again") //nolint:sloglint // one message each
	}
}

// gather waits for a change, and for a while for others.
func gather(ctx context.Context, changes <-chan string, pause time.Duration) {
	select {
	case <-changes:
	case <-ctx.Done():
		return
	}
	wait(ctx, pause)
	for range len(changes) {
		<-changes
	}
}
