package operations

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// replays bounds how often a stale draft is made again at once; the worker's own retry comes after.
const replays = 3

// replay calls change again while it meets portlayer.ErrStaleHandle.
func replay(change func() error) error {
	var err error
	for range replays {
		if err = change(); !errors.Is(err, portlayer.ErrStaleHandle) {
			return err
		}
	}
	return err
}

// DiskHost changes the disks of a VM that is there.
type DiskHost interface {
	Open(ctx context.Context, uid string) (*portlayer.Handle, error)
	Commit(ctx context.Context, h *portlayer.Handle) (podvm.VM, error)
	Discard(h *portlayer.Handle)
}

// attach gives a VM the disks that it does not have, running or not, and names those containers among its own.
func attach(ctx context.Context, host DiskHost, uid string, disks map[string]portlayer.DiskSource, tasks ...string) error {
	if len(disks)+len(tasks) == 0 {
		return nil
	}
	return replay(func() error {
		h, err := host.Open(ctx, uid)
		if err != nil {
			return err
		}
		defer host.Discard(h)
		var missing bool
		for serial, src := range disks {
			if !h.HasDisk(serial) {
				missing = true
				h.AddImage(serial, src)
			}
		}
		named := podvm.Containers(h.Spec())
		for _, t := range tasks {
			if !slices.Contains(named, t) {
				missing = true
				named = append(named, t)
			}
		}
		if !missing {
			return nil
		}
		podvm.SetContainers(h, named)
		if _, err := host.Commit(ctx, h); err != nil {
			return fmt.Errorf("attach images: %w", err)
		}
		return nil
	})
}
