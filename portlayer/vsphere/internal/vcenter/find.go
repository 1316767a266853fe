package vcenter

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmware/govmomi/pbm"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

// FindPolicy finds a storage policy by its name, with a session that is there; none of no name.
func FindPolicy(ctx context.Context, client *vim25.Client, name string) ([]types.BaseVirtualMachineProfileSpec, error) {
	if name == "" {
		return nil, nil
	}
	if !client.IsVC() {
		return nil, errors.New("an ESXi host by itself has none, only vCenter has")
	}
	policies, err := pbm.NewClient(ctx, client)
	if err != nil {
		return nil, err
	}
	id, err := policies.ProfileIDByName(ctx, name)
	if err != nil {
		return nil, err
	}
	return []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: id}}, nil
}

// ClusterOf is the cluster that a resource pool is in. ErrUnsupported.
func ClusterOf(ctx context.Context, read *property.Collector, pool types.ManagedObjectReference) (types.ManagedObjectReference, error) {
	var facts mo.ResourcePool
	if err := read.RetrieveOne(ctx, pool, []string{"owner"}, &facts); err != nil {
		return facts.Owner, fmt.Errorf("owner of the resource pool: %w", err)
	}
	if facts.Owner.Type != "ClusterComputeResource" {
		return facts.Owner, fmt.Errorf("anti-affinity: the resource pool is not in a cluster: %w", portlayer.ErrUnsupported)
	}
	return facts.Owner, nil
}

// FindCategory is the ID of a category. ErrNotFound.
func FindCategory(ctx context.Context, manager *tags.Manager, name string) (string, error) {
	all, err := manager.GetCategories(ctx)
	if err != nil {
		return "", err
	}
	for _, c := range all {
		if c.Name == name {
			return c.ID, nil
		}
	}
	return "", portlayer.ErrNotFound
}
