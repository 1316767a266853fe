package qemu

import (
	"context"
	"fmt"
	"runtime"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/procfs"
)

const (
	admitKey = "admit"
	// overheadBytes is what a QEMU takes beside its guest's memory: itself, its devices' buffers, its heap.
	overheadBytes = 128 * mib

	conditionNetwork  = "NetworkUnavailable"
	reasonUserNetwork = "UserModeNetwork"
	// UserNetworkMeans says what a VCH without a network of its own does not do.
	UserNetworkMeans = "without root each pod has a private network in QEMU's user mode: it reaches out, and nobody reaches it"
)

// Capacity returns what the VCH offers, and how the host is.
func (h *Hypervisor) Capacity(ctx context.Context) (portlayer.Capacity, error) {
	host, err := h.measure()
	if err != nil {
		return portlayer.Capacity{}, fmt.Errorf("capacity of the VCH: %w", err)
	}
	unready, full := h.health()
	host.full = full
	c := portlayer.Capacity{
		CPUMilli: h.config.CPUMilli, MemoryBytes: h.config.MemoryBytes, Pods: h.config.Pods, StorageBytes: h.config.StorageBytes,
		Conditions: append(append(host.pressures(), unready...), h.damageCondition(ctx), h.confinementCondition()),
	}
	c.UsedCPU, c.UsedMemoryBytes = h.used()
	if c.CPUMilli == 0 {
		c.CPUMilli = int64(runtime.NumCPU()) * 1000
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = host.memory.total
	}
	if c.StorageBytes == 0 {
		c.StorageBytes = host.storage.total
	}
	c.FreeMemoryBytes = min(max(0, host.memory.free-h.promised()), c.MemoryBytes)
	c.FreeStorageBytes = min(host.storage.free, c.StorageBytes)
	if h.config.Network == nil {
		c.Conditions = append(c.Conditions, portlayer.Condition{
			Type: conditionNetwork, Reason: reasonUserNetwork, Message: UserNetworkMeans,
		})
	}
	return c, nil
}

// admit reserves memory for a VM that is about to start, until the caller calls what it returns. ErrOutOfMemory.
//
// One VM is admitted at a time, so that two can't be promised the same memory.
func (h *Hypervisor) admit(ctx context.Context, v *podVM) (func(), error) {
	unlock, err := h.making.Take(ctx, admitKey)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, _ := v.current()
	_, available, err := procfs.Memory()
	if err != nil {
		return nil, err
	}
	need := r.Spec.Size.MemoryBytes + h.overhead()
	free := available - h.promised()
	if need > free {
		return nil, fmt.Errorf("the VM needs %d MiB of memory and the machine has %d MiB left: %w",
			need/mib, max(0, free)/mib, portlayer.ErrOutOfMemory)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.starting[v.uid] = need
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.starting, v.uid)
	}, nil
}

// overhead is what a VM takes of the host beside its memory.
func (h *Hypervisor) overhead() int64 { return overheadFor(h.accel) }

func overheadFor(a Accel) int64 {
	if a == AccelTCG {
		return overheadBytes + tcgBufferMiB*mib
	}
	return overheadBytes
}

// promised is memory that VMs may still take: what the running ones have not touched, and all of those that start.
func (h *Hypervisor) promised() int64 {
	var promised int64
	for _, v := range h.known() {
		if r, p := v.current(); p != nil {
			promised += max(0, r.Spec.Size.MemoryBytes-procfs.OwnBytes(p.pid))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, need := range h.starting {
		promised += need
	}
	return promised
}
