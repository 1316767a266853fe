package vsphere

import (
	"context"
	"fmt"

	"github.com/virtual-kubelet/vic/portlayer"
)

// Inspection is what there is of a VCH.
type Inspection struct {
	// Pool, Folder and Datastore are inventory paths, as they were found.
	Pool, Folder, Datastore string
	Capacity                portlayer.Capacity
	VMs                     []portlayer.VM
}

// Inspect reads what there is of a VCH, and changes nothing. ErrNotFound.
func Inspect(ctx context.Context, cfg Config) (Inspection, error) {
	i, err := inspect(ctx, cfg)
	if err != nil {
		return Inspection{}, fmt.Errorf("inspect VCH %s: %w", cfg.Name, translate(err))
	}
	return i, nil
}

func inspect(ctx context.Context, cfg Config) (Inspection, error) {
	place, err := findPlace(ctx, cfg.Session.client, cfg)
	if err != nil {
		return Inspection{}, err
	}
	h := &Hypervisor{config: cfg, client: cfg.Session.client, place: place}
	ignore := func(string) {}
	h.seen = newInventory(cfg.Session, place.folder.Reference(), hooks{notify: ignore, forget: ignore, named: h.instanceUUID})
	i := Inspection{Pool: place.pool.InventoryPath, Folder: place.folder.InventoryPath, Datastore: place.datastore.InventoryPath}
	if i.VMs, err = h.seen.list(ctx); err != nil {
		return Inspection{}, err
	}
	i.Capacity, err = h.capacity(ctx)
	return i, err
}
