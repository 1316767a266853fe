package vsphere

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// place is where a VCH is in the inventory.
type place struct {
	datacenter *object.Datacenter
	pool       *object.ResourcePool
	folder     *object.Folder
	datastore  *object.Datastore
	networks   map[string]types.BaseVirtualDeviceBackingInfo // by scope
	// policy is the storage policy of VMs' files and disks; empty where none is wanted.
	policy []types.BaseVirtualMachineProfileSpec
}

// findPlace resolves all paths once.
func findPlace(ctx context.Context, client *vim25.Client, cfg Config) (place, error) {
	finder := find.NewFinder(client)
	var p place
	var err error
	if p.datacenter, err = finder.DatacenterOrDefault(ctx, cfg.Datacenter); err != nil {
		return p, fmt.Errorf("datacenter: %w", err)
	}
	finder.SetDatacenter(p.datacenter)
	if p.pool, err = finder.ResourcePoolOrDefault(ctx, cfg.Pool); err != nil {
		return p, fmt.Errorf("resource pool: %w", err)
	}
	if p.folder, err = finder.FolderOrDefault(ctx, cfg.Folder); err != nil {
		return p, fmt.Errorf("VM folder: %w", err)
	}
	if p.datastore, err = finder.DatastoreOrDefault(ctx, cfg.Datastore); err != nil {
		return p, fmt.Errorf("datastore: %w", err)
	}
	if p.policy, err = vcenter.FindPolicy(ctx, client, cfg.StoragePolicy); err != nil {
		return p, fmt.Errorf("storage policy: %w", err)
	}
	p.networks = map[string]types.BaseVirtualDeviceBackingInfo{}
	for scope, path := range cfg.Networks {
		network, err := finder.Network(ctx, path)
		if err != nil {
			return p, fmt.Errorf("network of scope %s: %w", scope, err)
		}
		if p.networks[scope], err = network.EthernetCardBackingInfo(ctx); err != nil {
			return p, fmt.Errorf("network of scope %s: %w", scope, err)
		}
	}
	return p, nil
}
