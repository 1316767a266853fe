package vsphere

import (
	"context"
	"iter"
	"time"
)

const (
	firstPause = 200 * time.Millisecond
	lastPause  = 2 * time.Second
)

// retryPauses are those before a read is repeated.
func retryPauses(yield func(time.Duration) bool) {
	for pause := firstPause; pause <= lastPause && yield(pause); pause *= 2 {
	}
}

var _ iter.Seq[time.Duration] = retryPauses

// wait tells whether that much time has passed before ctx ended.
func wait(ctx context.Context, pause time.Duration) bool {
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// destroyer is a view or a collector.
type destroyer interface {
	Destroy(ctx context.Context) error
}

// destroy lets go of what vSphere keeps for us, which goes with the session at the latest.
func destroy(ctx context.Context, all ...destroyer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	for _, d := range all {
		_ = d.Destroy(ctx) // the session may be lost, and it with it
	}
}
