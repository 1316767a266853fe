package vsphere

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
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
		return Inspection{}, fmt.Errorf("inspect VCH %s: %w", cfg.Name, vcenter.Translate(err))
	}
	return i, nil
}

func inspect(ctx context.Context, cfg Config) (Inspection, error) {
	place, err := findPlace(ctx, cfg.Session.client, cfg)
	if err != nil {
		return Inspection{}, err
	}
	h := &Hypervisor{config: cfg, client: cfg.Session.client, place: place, seen: unwatched(cfg, place.datacenter, place.folder)}
	i := Inspection{Pool: place.pool.InventoryPath, Folder: place.folder.InventoryPath, Datastore: place.datastore.InventoryPath}
	if i.VMs, err = h.seen.list(ctx); err != nil {
		return Inspection{}, err
	}
	i.Capacity, err = h.capacity(ctx)
	return i, err
}

// unwatched is the inventory of a folder for one look, which nobody watches.
func unwatched(cfg Config, datacenter *object.Datacenter, folder *object.Folder) *inventory {
	ignore := func(string) {}
	return newInventory(cfg.Session, datacenter, folder.Reference(), hooks{
		notify: ignore, forget: ignore, named: func(uid string) string { return instanceUUID(cfg.Name, uid) },
	})
}

// Probe returns why Open would not find a part of the VCH, and changes nothing.
func Probe(ctx context.Context, cfg Config) error {
	if _, err := findPlace(ctx, cfg.Session.client, cfg); err != nil {
		return fmt.Errorf("find VCH %s: %w", cfg.Name, vcenter.Translate(err))
	}
	return nil
}

// RequireNoVMs refuses a VCH that has pod VMs, wherever in its folder they are: ErrBusy, with their names.
func RequireNoVMs(ctx context.Context, cfg Config) error {
	return vcenter.Translate(requireNoVMs(ctx, cfg))
}

func requireNoVMs(ctx context.Context, cfg Config) error {
	finder := find.NewFinder(cfg.Session.client)
	datacenter, err := finder.DatacenterOrDefault(ctx, cfg.Datacenter)
	if err != nil {
		return fmt.Errorf("datacenter: %w", err)
	}
	folder, err := finder.SetDatacenter(datacenter).FolderOrDefault(ctx, cfg.Folder)
	if _, none := errors.AsType[*find.NotFoundError](err); none {
		return nil
	}
	if err != nil {
		return err
	}
	vms, err := unwatched(cfg, datacenter, folder).list(ctx)
	if err != nil {
		return err
	}
	var names []string
	for _, vm := range vms {
		names = append(names, vmName(vm.Spec.Owner))
	}
	if len(names) > 0 {
		return fmt.Errorf("delete its pods first, it has pod VMs %s: %w", strings.Join(names, ", "), portlayer.ErrBusy)
	}
	return nil
}
