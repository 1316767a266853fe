package vch

import (
	"context"
	"errors"
	"fmt"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vapi/tags"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// hosts are what capacity is made of.
func (c *checker) hosts(ctx context.Context) {
	read := property.DefaultCollector(c.session.Client())
	pool, err := c.finder.ResourcePoolOrDefault(ctx, c.config.Pool)
	if err != nil {
		return // said of the resource pool
	}
	var facts mo.ResourcePool
	if err := read.RetrieveOne(ctx, pool.Reference(), []string{"owner"}, &facts); err != nil {
		c.note("hosts", "", err)
		return
	}
	hw, blind, err := vcenter.ReadHardware(ctx, read, facts.Owner, c.config.MHzPerCore)
	detail := fmt.Sprintf("%d MHz a core", hw.MHzPerCore)
	if blind != nil {
		detail += ", can't be read themselves: capacity is of resource pool and cluster"
	}
	c.note("hosts", detail, err)
}

// What follows is looked at only where it is wanted.

func (c *checker) storagePolicy(ctx context.Context) {
	name, client := c.config.StoragePolicy, c.session.Client()
	if name == "" {
		return
	}
	_, err := vcenter.FindPolicy(ctx, client, name)
	if client.IsVC() {
		err = errors.Join(err, c.may(ctx, "inventory", client.ServiceContent.RootFolder))
	}
	c.note("storage policy", name, err)
}

// memory is what VMs that reserve theirs can have.
func (c *checker) memory(ctx context.Context) {
	if !c.config.ReserveMemory {
		return
	}
	pool, err := c.finder.ResourcePoolOrDefault(ctx, c.config.Pool)
	var facts mo.ResourcePool
	if err == nil {
		err = property.DefaultCollector(c.session.Client()).RetrieveOne(ctx, pool.Reference(), []string{"runtime.memory"}, &facts)
	}
	free := facts.Runtime.Memory.UnreservedForVm
	if err == nil && free <= 0 {
		err = fmt.Errorf("the resource pool has none left: %w", portlayer.ErrOutOfMemory)
	}
	c.note("memory reservation", fmt.Sprintf("%.1f GiB can be reserved", gib(free)), err)
}

// antiAffinity needs a cluster, and that it may be changed.
func (c *checker) antiAffinity(ctx context.Context) {
	if !c.config.AntiAffinity {
		return
	}
	pool, err := c.finder.ResourcePoolOrDefault(ctx, c.config.Pool)
	var cluster types.ManagedObjectReference
	if err == nil {
		cluster, err = vcenter.ClusterOf(ctx, property.DefaultCollector(c.session.Client()), pool.Reference())
	}
	if err == nil {
		err = c.may(ctx, "cluster", cluster)
	}
	c.note("anti-affinity", cluster.Value, err)
}

// tags are attached by a login of their own.
func (c *checker) tags(ctx context.Context) {
	name := c.config.TagCategory
	if name == "" {
		return
	}
	detail, err := c.category(ctx, name)
	c.note("tags", detail, err)
}

func (c *checker) category(ctx context.Context, name string) (detail string, err error) {
	client, err := c.session.TagClient(ctx)
	if err != nil {
		return name, err
	}
	defer func() { err = errors.Join(err, client.Logout(ctx)) }()
	root := c.session.Client().ServiceContent.RootFolder
	may := c.may(ctx, "tags", root)
	_, err = vcenter.FindCategory(ctx, tags.NewManager(client), name)
	if errors.Is(err, portlayer.ErrNotFound) {
		return name + ", made with the first pod", errors.Join(may, c.may(ctx, "category", root))
	}
	return name, errors.Join(err, may)
}
