package vsphere

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/changes"
	"github.com/virtual-kubelet/vic/internal/turns"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// GuestChannels are the byte channels that guests open to us. VMs are named by their instance UUIDs.
type GuestChannels interface {
	// Dial waits until the guest of a VM has a channel open, and returns it.
	Dial(ctx context.Context, vm string) (io.ReadWriteCloser, error)
	// Boot is what the guest of a VM needs to open one, but for its token and its interfaces.
	Boot(vm string) wire.Boot
	// Forget closes the channel of a VM that is gone.
	Forget(vm string)
}

// Config says what a VCH is made of.
type Config struct {
	// Name is the VCH's, the same for as long as it has VMs: their instance UUIDs depend on it.
	Name    string
	Session *Session
	// Datacenter, Pool, Folder and Datastore are inventory paths; on ESXi, and where there is one of a kind, they may be
	// empty.
	Datacenter, Pool, Folder, Datastore string
	// Directory is where the VCH's files are on the datastore; empty is "vic/" and the name.
	Directory string
	// Networks are inventory paths of port groups, by scope.
	Networks map[string]string
	// StoragePolicy is the name of the storage policy that VMs and disks are given; empty is what the datastore does by itself.
	StoragePolicy string
	// ReserveMemory reserves all memory of VMs, so that none of it is ever in a swap file.
	ReserveMemory bool
	// AntiAffinity keeps VMs of one spread group on different hosts of a cluster by DRS rules, as far as that can be.
	AntiAffinity bool
	// TagCategory is the category of the tags that VMs are given; empty gives none.
	TagCategory string
	// MHzPerCore is how fast processors are where neither hosts nor cluster can be read.
	MHzPerCore int64
	// BootISO is the datastore path of the image that VMs boot; empty boots nothing.
	BootISO string
	// MaxPods is what the node offers; 0 is 110.
	MaxPods int64
	// CPUMilli and MemoryBytes are what the node offers at most; 0 is what the pool has.
	CPUMilli, MemoryBytes int64
	Guests                GuestChannels
}

// Hypervisor is a VCH on vSphere. It implements portlayer.Hypervisor.
type Hypervisor struct {
	config Config
	client *vim25.Client
	place  place
	tasks  *tasks
	seen   *inventory
	disks  *imageDisks
	// volumes are disks that VMs have for a while.
	volumes *volumes
	spent   processorTime

	warnBlind sync.Once // that hosts can't be read

	changing turns.Turns // of VMs, by UID

	stop    context.CancelFunc
	running sync.WaitGroup
	changed changes.Hub
}

var (
	_ portlayer.Hypervisor = (*Hypervisor)(nil)
	_ portlayer.Recaller   = (*Hypervisor)(nil)
)

// Open finds the VCH's parts and its VMs. The caller calls Close, and then closes the session. ctx carries the logger
// for what runs until then.
func Open(ctx context.Context, cfg Config) (*Hypervisor, error) {
	if cfg.Name == "" || cfg.Guests == nil {
		return nil, errors.New("open VCH: it has no name, or nobody takes its guests")
	}
	if cfg.Directory == "" {
		cfg.Directory = DefaultDirectory(cfg.Name)
	}
	if cfg.MaxPods == 0 {
		cfg.MaxPods = 110
	}
	h := &Hypervisor{config: cfg, client: cfg.Session.client}
	if err := h.open(ctx); err != nil {
		return nil, fmt.Errorf("open VCH %s: %w", cfg.Name, vcenter.Translate(err))
	}
	return h, nil
}

// DefaultDirectory is that of a VCH whose Config has none.
func DefaultDirectory(vch string) string { return "vic/" + vch }

func (h *Hypervisor) open(ctx context.Context) error {
	var err error
	if h.place, err = findPlace(ctx, h.client, h.config); err != nil {
		return err
	}
	h.tasks = newTasks(h.config.Session)
	h.seen = newInventory(h.config.Session, h.place.datacenter, h.place.folder.Reference(), hooks{
		notify: h.changed.Notify, forget: h.config.Guests.Forget, named: h.instanceUUID,
	})
	h.disks, h.volumes = newImageDisks(h), newVolumes(h)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	// All end at Close.
	h.running.Go(func() { h.tasks.run(background) })
	h.running.Go(func() { h.tasks.look(background) })
	h.running.Go(func() { h.seen.run(background) })
	h.running.Go(func() { h.noteEnds(background) })
	err = errors.Join(h.seen.readAll(ctx), h.disks.open(ctx), h.disks.tidy(ctx))
	if err != nil {
		h.Close()
		return err
	}
	if h.config.AntiAffinity {
		h.running.Go(func() { h.spread(background) })
	}
	if h.config.TagCategory != "" {
		h.running.Go(func() { h.tag(background) })
	}
	return nil
}

// Close lets go of all VMs, which run on.
func (h *Hypervisor) Close() {
	h.stop()
	h.running.Wait()
}

// List returns every VM of the folder that is a pod VM.
func (h *Hypervisor) List(ctx context.Context) ([]portlayer.VM, error) {
	vms, err := h.seen.list(ctx)
	return vms, vcenter.Translate(err)
}

// Watch sends UIDs of VMs that may have changed.
func (h *Hypervisor) Watch(ctx context.Context) <-chan string { return h.changed.Watch(ctx) }

// Dial waits for the guest of a running VM to open its channel.
func (h *Hypervisor) Dial(ctx context.Context, uid string) (io.ReadWriteCloser, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changed, stop := h.changed.Follow(uid)
	defer stop()
	if err := h.dialable(uid); err != nil {
		return nil, err
	}
	type answer struct {
		conn io.ReadWriteCloser
		err  error
	}
	answered := make(chan answer, 1)
	// Ends with ctx at the latest.
	go func() {
		conn, err := h.config.Guests.Dial(ctx, h.instanceUUID(uid))
		answered <- answer{conn, err}
	}()
	for {
		select {
		case a := <-answered:
			if a.err != nil {
				return nil, fmt.Errorf("dial VM %s: %w", uid, a.err)
			}
			return a.conn, nil
		case <-changed:
			if err := h.dialable(uid); err != nil {
				cancel()
				if a := <-answered; a.conn != nil {
					_ = a.conn.Close() // it came too late
				}
				return nil, err
			}
		}
	}
}

func (h *Hypervisor) dialable(uid string) error {
	vm, err := h.seen.find(uid)
	switch {
	case err != nil:
		return fmt.Errorf("dial VM %s: %w", uid, err)
	case !vm.on:
		return fmt.Errorf("dial VM %s: %w", uid, portlayer.ErrNotRunning)
	case !vm.record.spec.Boot.HasGuest():
		return fmt.Errorf("dial VM %s: it boots no guest of ours: %w", uid, portlayer.ErrUnsupported)
	}
	return nil
}

// change finds a VM and waits for its turn. ErrNotFound, and an error where the pod has several.
func (h *Hypervisor) change(ctx context.Context, uid string) (ownedVM, func(), error) {
	giveBack, err := h.changing.Take(ctx, uid)
	if err != nil {
		return ownedVM{}, nil, err
	}
	vm, err := h.seen.find(uid)
	if err != nil {
		giveBack()
		return ownedVM{}, nil, err
	}
	return vm, giveBack, nil
}

// vm is the client's handle of a VM.
func (h *Hypervisor) vm(vm ownedVM) *object.VirtualMachine {
	return object.NewVirtualMachine(h.client, vm.ref)
}
