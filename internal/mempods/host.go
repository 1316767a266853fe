package mempods

import (
	"context"
	"fmt"
	"slices"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// Host is a podvm.PodHost over a Store. It is safe for concurrent use.
type Host struct{ store *Store }

var _ podvm.PodHost = (*Host)(nil)

// New returns a host of the pod VMs in a store.
func New(store *Store) *Host { return &Host{store: store} }

// Capabilities implements podvm.Facts.
func (h *Host) Capabilities() podvm.Capabilities {
	return podvm.Capabilities{Hypervisor: "memory", PodNetwork: true, HotAddDisk: true}
}

// Capacity implements podvm.Facts: there is plenty.
func (h *Host) Capacity(context.Context) (portlayer.Capacity, error) {
	return portlayer.Capacity{
		CPUMilli: 8000, MemoryBytes: 64 << 30, StorageBytes: 1 << 40, Pods: 100,
		FreeMemoryBytes: 64 << 30, FreeStorageBytes: 1 << 40,
	}, nil
}

// Get implements podvm.Records.
func (h *Host) Get(_ context.Context, id string) (podvm.VM, error) {
	p, err := h.store.podOf(id)
	if err != nil {
		return podvm.VM{}, fmt.Errorf("pod VM %s: %w", id, err)
	}
	return p.view(), nil
}

// List implements podvm.Records.
func (h *Host) List(context.Context) ([]podvm.VM, error) {
	var vms []podvm.VM
	for _, p := range h.store.list() {
		vms = append(vms, p.view())
	}
	return vms, nil
}

// Watch implements podvm.Records. A slow reader gets each ID once, however often it changed.
func (h *Host) Watch(ctx context.Context) <-chan string { return h.store.hub.Watch(ctx) }

// Remember implements podvm.Records.
func (h *Host) Remember(_ context.Context, id string, record []byte) error {
	err := h.store.change(id, func(p *pod) error {
		p.record = slices.Clone(record)
		return nil
	})
	if err != nil {
		return fmt.Errorf("remember pod VM %s: %w", id, err)
	}
	return nil
}

// AckEvents implements podvm.Records.
func (h *Host) AckEvents(_ context.Context, id, bootID string, seq uint64) error {
	p, err := h.store.podOf(id)
	if err != nil {
		return fmt.Errorf("acknowledge events of pod VM %s: %w", id, err)
	}
	for _, boot := range p.boots {
		if boot.BootID() == bootID {
			boot.Ack(seq)
		}
	}
	return nil
}

// New implements podvm.Drafts.
func (h *Host) New(_ context.Context, owner portlayer.Owner) (*portlayer.Handle, error) {
	owner.Kind = podvm.Kind
	if _, err := h.store.vmOf(owner.UID); err == nil {
		return nil, fmt.Errorf("draft pod VM %s: %w", owner.UID, portlayer.ErrExists)
	}
	return portlayer.NewHandle(portlayer.Spec{ID: owner.UID, Owner: owner}, 0, h.store.addresses.reserve), nil
}

// Open implements podvm.Drafts.
func (h *Host) Open(_ context.Context, id string) (*portlayer.Handle, error) {
	p, err := h.store.vmOf(id)
	if err != nil {
		return nil, fmt.Errorf("open pod VM %s: %w", id, err)
	}
	return portlayer.NewHandle(p.vm.Spec, p.vm.Version, h.store.addresses.reserve), nil
}

// Commit implements podvm.Drafts. No volumes (ErrUnsupported).
func (h *Host) Commit(ctx context.Context, handle *portlayer.Handle) (podvm.VM, error) {
	if err := h.commit(handle); err != nil {
		return podvm.VM{}, fmt.Errorf("commit pod VM %s: %w", handle.ID(), err)
	}
	return h.Get(ctx, handle.ID())
}

func (h *Host) commit(handle *portlayer.Handle) error {
	if err := handle.Spend(); err != nil {
		return err
	}
	spec, sources := handle.Spec(), handle.Sources()
	for i, d := range spec.Disks {
		if src, ok := sources[d.Serial]; ok {
			spec.Disks[i].Ref = portlayer.DiskRef(src.Digest)
		}
	}
	if err := h.store.commit(spec, handle.Version()); err != nil {
		return err
	}
	handle.Keep()
	return nil
}

// Discard implements podvm.Drafts.
func (h *Host) Discard(handle *portlayer.Handle) { handle.Release() }

// Start implements podvm.Lives.
func (h *Host) Start(ctx context.Context, id string) error {
	err := ctx.Err()
	if err == nil {
		err = h.store.boot(id)
	}
	if err != nil {
		return fmt.Errorf("start pod VM %s: %w", id, err)
	}
	return nil
}

// PowerOff implements podvm.Lives.
func (h *Host) PowerOff(_ context.Context, id string) error {
	h.store.cut(id, "")
	return nil
}

// Remove implements podvm.Lives.
func (h *Host) Remove(_ context.Context, id string) error {
	h.store.remove(id)
	return nil
}

// Forget implements podvm.Lives. ErrExists while the VM is there.
func (h *Host) Forget(_ context.Context, id string) error {
	if err := h.store.forget(id); err != nil {
		return fmt.Errorf("forget pod VM %s: %w", id, err)
	}
	return nil
}
