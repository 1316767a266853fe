package vch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

const (
	// maxClockSkew is how far vSphere's clock may be from ours before it is worth a word.
	maxClockSkew = 5 * time.Minute
	// leastSpaceBytes is what images and scratch disks need to begin with.
	leastSpaceBytes = 2 << 30
)

// Finding is what one thing that a VCH needs was found to be.
type Finding struct {
	// Subject is what was looked at, such as "resource pool".
	Subject string
	// Detail is what is there, in a few words.
	Detail string
	// Err is what is wrong with it; nil is nothing.
	Err error
}

// privileges are those that a VCH needs, by the kind of object.
var privileges = map[string][]string{
	"VM folder": {
		"VirtualMachine.Inventory.Create", "VirtualMachine.Inventory.Delete",
		"VirtualMachine.Config.AddNewDisk", "VirtualMachine.Config.AddExistingDisk", "VirtualMachine.Config.RemoveDisk",
		"VirtualMachine.Config.AddRemoveDevice", "VirtualMachine.Config.EditDevice", "VirtualMachine.Config.AdvancedConfig",
		"VirtualMachine.Config.CPUCount", "VirtualMachine.Config.Memory", "VirtualMachine.Config.Resource",
		"VirtualMachine.Config.Settings", "VirtualMachine.Config.Annotation", "VirtualMachine.Config.ManagedBy",
		"VirtualMachine.Interact.PowerOn", "VirtualMachine.Interact.PowerOff", "VirtualMachine.Interact.SetCDMedia",
		"VirtualMachine.Interact.DeviceConnection",
	},
	"resource pool": {"Resource.AssignVMToPool", "VApp.Import"},
	"datastore":     {"Datastore.AllocateSpace", "Datastore.Browse", "Datastore.FileManagement"},
	"network":       {"Network.Assign"},
	"inventory":     {"StorageProfile.View"},
	"cluster":       {"Host.Inventory.EditCluster"},
	"tags":          {"InventoryService.Tagging.AttachTag", "InventoryService.Tagging.CreateTag"},
	"category":      {"InventoryService.Tagging.CreateCategory"},
}

// Check looks at everything that a VCH needs, and changes nothing. It goes on after what is missing.
func Check(ctx context.Context, cfg vsphere.Config) []Finding {
	c := &checker{config: cfg, session: cfg.Session}
	for _, look := range []func(context.Context){c.clock, c.datacenter, c.pool, c.hosts, c.folder, c.datastore, c.storagePolicy, c.memory, c.antiAffinity, c.tags, c.networks, c.bootISO, c.privileges} {
		look(ctx)
	}
	return c.findings
}

type checker struct {
	config   vsphere.Config
	session  *vsphere.Session
	finder   *find.Finder
	store    *object.Datastore
	findings []Finding
	// asked counts privileges that were looked at, and on objects those; it is empty on an ESXi host by itself.
	asked, on int
}

func (c *checker) note(subject, detail string, err error) {
	c.findings = append(c.findings, Finding{subject, detail, vcenter.Translate(err)})
}

func (c *checker) clock(ctx context.Context) {
	now, err := methods.GetCurrentTime(ctx, c.session.Client())
	if err != nil {
		c.note("clock", "", err)
		return
	}
	skew := time.Since(*now).Round(time.Second)
	if skew.Abs() > maxClockSkew {
		err = fmt.Errorf("it is %s off from this machine's", skew)
	}
	c.note("clock", fmt.Sprintf("%s off", skew), err)
}

func (c *checker) datacenter(ctx context.Context) {
	c.finder = find.NewFinder(c.session.Client())
	dc, err := c.finder.DatacenterOrDefault(ctx, c.config.Datacenter)
	if err != nil {
		c.note("datacenter", "", err)
		return
	}
	c.finder.SetDatacenter(dc)
	c.note("datacenter", dc.InventoryPath, nil)
}

func (c *checker) pool(ctx context.Context) {
	pool, err := c.finder.ResourcePoolOrDefault(ctx, c.config.Pool)
	if err != nil {
		c.note("resource pool", "", err)
		return
	}
	c.note("resource pool", pool.InventoryPath, c.may(ctx, "resource pool", pool.Reference()))
}

func (c *checker) folder(ctx context.Context) {
	folder, err := c.finder.FolderOrDefault(ctx, c.config.Folder)
	if err != nil {
		c.note("VM folder", "", err)
		return
	}
	c.note("VM folder", folder.InventoryPath, c.may(ctx, "VM folder", folder.Reference()))
}

func (c *checker) datastore(ctx context.Context) {
	store, err := c.finder.DatastoreOrDefault(ctx, c.config.Datastore)
	if err != nil {
		c.note("datastore", "", err)
		return
	}
	c.store = store
	var facts mo.Datastore
	if err := property.DefaultCollector(c.session.Client()).RetrieveOne(ctx, store.Reference(), []string{"summary"}, &facts); err != nil {
		c.note("datastore", store.InventoryPath, err)
		return
	}
	s := facts.Summary
	err = c.may(ctx, "datastore", store.Reference())
	switch {
	case !s.Accessible:
		err = errors.Join(errors.New("it is not accessible"), err)
	case s.FreeSpace < leastSpaceBytes:
		err = errors.Join(fmt.Errorf("%.1f GiB are free: %w", gib(s.FreeSpace), portlayer.ErrOutOfSpace), err)
	}
	c.note("datastore", fmt.Sprintf("%s, %.1f of %.1f GiB free", store.InventoryPath, gib(s.FreeSpace), gib(s.Capacity)), err)
}

func gib(bytes int64) float64 { return float64(bytes) / (1 << 30) }

func (c *checker) networks(ctx context.Context) {
	for scope, path := range c.config.Networks {
		network, err := c.finder.Network(ctx, path)
		if err != nil {
			c.note("network of scope "+scope, path, err)
			continue
		}
		_, err = network.EthernetCardBackingInfo(ctx)
		c.note("network of scope "+scope, path, errors.Join(err, c.may(ctx, "network", network.Reference())))
		c.sources(ctx, scope, network.Reference())
	}
}

// bootISO is a datastore path, such as "[store] vic/boot.iso".
func (c *checker) bootISO(ctx context.Context) {
	iso := c.config.BootISO
	var path object.DatastorePath
	if !path.FromString(iso) {
		c.note("boot ISO", iso, errors.New("it is not a datastore path, such as [datastore] vic/boot.iso"))
		return
	}
	store := c.store
	if store == nil || store.Name() != path.Datastore {
		var err error
		if store, err = c.finder.Datastore(ctx, path.Datastore); err != nil {
			c.note("boot ISO", iso, err)
			return
		}
	}
	_, err := store.Stat(ctx, path.Path)
	c.note("boot ISO", iso, err)
}

// privileges says how many there were to look at; what is missing stands beside its object.
func (c *checker) privileges(context.Context) {
	detail := fmt.Sprintf("%d looked at on %d objects", c.asked, c.on)
	if c.on == 0 {
		detail = "not looked at: an ESXi host by itself does not say"
	}
	c.note("privileges", detail, nil)
}

// may says which privileges are missing on an object.
func (c *checker) may(ctx context.Context, kind string, ref types.ManagedObjectReference) error {
	user, err := session.NewManager(c.session.Client()).UserSession(ctx)
	if err == nil && user == nil {
		err = errors.New("there is no session")
	}
	if err != nil {
		return fmt.Errorf("privileges: %w", err)
	}
	manager := object.NewAuthorizationManager(c.session.Client())
	have, err := manager.HasUserPrivilegeOnEntities(ctx, []types.ManagedObjectReference{ref}, user.UserName, privileges[kind])
	if fault.Is(err, &types.NotSupported{}) {
		return nil // an ESXi host by itself
	}
	if err != nil {
		return fmt.Errorf("privileges: %w", err)
	}
	c.on++
	c.asked += len(privileges[kind])
	var missing []string
	for _, entity := range have {
		for _, p := range entity.PrivAvailability {
			if !p.IsGranted {
				missing = append(missing, p.PrivId)
			}
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%s lacks privileges: %s", user.UserName, strings.Join(missing, ", "))
	}
	return nil
}
