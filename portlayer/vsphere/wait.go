package vsphere

import (
	"context"
	"iter"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
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

// follow calls update with what a collector reports, and every maxWaitSeconds with nothing, until that fails or ctx ends.
func follow(ctx context.Context, client *vim25.Client, pc *property.Collector, update func([]types.ObjectUpdate) error) error {
	req := types.WaitForUpdatesEx{
		This: pc.Reference(), Options: &types.WaitOptions{MaxWaitSeconds: types.NewInt32(maxWaitSeconds)},
	}
	for ctx.Err() == nil {
		res, err := methods.WaitForUpdatesEx(ctx, client, &req)
		if err != nil {
			return err
		}
		var updates []types.ObjectUpdate
		if set := res.Returnval; set != nil {
			req.Version = set.Version
			for _, filter := range set.FilterSet {
				updates = append(updates, filter.ObjectSet...)
			}
		}
		if err := update(updates); err != nil {
			return err
		}
	}
	return ctx.Err()
}
