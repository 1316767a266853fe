package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/virtual-kubelet/vic/portlayer"
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

// Capacity returns what the VCH offers, and how the machine is.
func (h *Hypervisor) Capacity(_ context.Context) (portlayer.Capacity, error) {
	machine, err := h.measure()
	if err != nil {
		return portlayer.Capacity{}, fmt.Errorf("capacity of the VCH: %w", err)
	}
	unready, full := h.health()
	machine.full = full
	c := portlayer.Capacity{
		CPUMilli: h.config.CPUMilli, MemoryBytes: h.config.MemoryBytes, Pods: h.config.Pods, StorageBytes: h.config.StorageBytes,
		Conditions: append(machine.pressures(), unready...),
	}
	c.UsedCPU, c.UsedMemoryBytes = h.used()
	if c.CPUMilli == 0 {
		c.CPUMilli = int64(runtime.NumCPU()) * 1000
	}
	if c.MemoryBytes == 0 {
		c.MemoryBytes = machine.memory.total
	}
	if c.StorageBytes == 0 {
		c.StorageBytes = machine.storage.total
	}
	c.FreeMemoryBytes = min(max(0, machine.memory.free-h.promised()), c.MemoryBytes)
	c.FreeStorageBytes = min(machine.storage.free, c.StorageBytes)
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
	memory, err := machineMemory()
	if err != nil {
		return nil, err
	}
	need := r.Spec.Size.MemoryBytes + h.overhead()
	free := memory.available - h.promised()
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
			promised += max(0, r.Spec.Size.MemoryBytes-residentMemory(p.pid))
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, need := range h.starting {
		promised += need
	}
	return promised
}

// memoryInfo is what the machine says of its memory.
type memoryInfo struct{ total, available int64 }

func machineMemory() (memoryInfo, error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return memoryInfo{}, err
	}
	m := memoryInfo{kilobytes(string(b), "MemTotal:"), kilobytes(string(b), "MemAvailable:")}
	if m.total == 0 {
		return m, errors.New("/proc/meminfo has no MemTotal")
	}
	return m, nil
}

// residentMemory is what a process holds of its own memory; 0 where that is not to be had.
func residentMemory(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	return kilobytes(string(b), "RssAnon:")
}

// kilobytes reads a line such as "MemTotal:  16316412 kB" of a file of /proc, in bytes.
func kilobytes(file, key string) int64 {
	for line := range strings.Lines(file) {
		value, ok := strings.CutPrefix(line, key)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return n << 10
	}
	return 0
}
