package vsphere

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// Capacity reads what the pool may use: its limits, what its owner leaves it, and no more than the hosts have. Where hosts
// can't be read, the cluster's sums count in their place.
func (h *Hypervisor) Capacity(ctx context.Context) (portlayer.Capacity, error) {
	c, err := h.capacity(ctx)
	if err != nil {
		return portlayer.Capacity{}, fmt.Errorf("capacity of VCH %s: %w", h.config.Name, vcenter.Translate(err))
	}
	return c, nil
}

func (h *Hypervisor) capacity(ctx context.Context) (portlayer.Capacity, error) {
	read := property.DefaultCollector(h.client)
	var pool mo.ResourcePool
	if err := read.RetrieveOne(ctx, h.place.pool.Reference(), []string{"owner", "config", "runtime"}, &pool); err != nil {
		return portlayer.Capacity{}, err
	}
	hw, blind, err := vcenter.ReadHardware(ctx, read, pool.Owner, h.config.MHzPerCore)
	if err != nil {
		return portlayer.Capacity{}, err
	}
	if blind != nil {
		h.warnBlind.Do(func() {
			logging.From(ctx).WarnContext(ctx, "capacity made of resource pool and cluster: hosts can't be read", "err", vcenter.Translate(blind))
		})
	}
	var store mo.Datastore
	if err := read.RetrieveOne(ctx, h.place.datastore.Reference(), []string{"summary"}, &store); err != nil {
		return portlayer.Capacity{}, err
	}
	c := portlayer.Capacity{
		CPUMilli:     least(pool.Config.CpuAllocation.Limit, pool.Runtime.Cpu.MaxUsage, hw.MHz) * 1000 / max(hw.MHzPerCore, 1),
		MemoryBytes:  least(limitBytes(pool.Config.MemoryAllocation.Limit), pool.Runtime.Memory.MaxUsage, hw.MemoryBytes),
		StorageBytes: store.Summary.Capacity, FreeStorageBytes: store.Summary.FreeSpace,
		Pods: h.config.MaxPods,
	}
	if most := h.config.CPUMilli; most > 0 {
		c.CPUMilli = min(c.CPUMilli, most)
	}
	if most := h.config.MemoryBytes; most > 0 {
		c.MemoryBytes = min(c.MemoryBytes, most)
	}
	c.UsedMemoryBytes = max(pool.Runtime.Memory.OverallUsage, 0)
	c.UsedCPU = h.spent.add(time.Now(), pool.Runtime.Cpu.OverallUsage, hw.MHzPerCore)
	c.FreeMemoryBytes = max(0, c.MemoryBytes-max(h.seen.running(), c.UsedMemoryBytes))
	if h.config.ReserveMemory {
		c.FreeMemoryBytes = min(c.FreeMemoryBytes, max(0, pool.Runtime.Memory.UnreservedForVm))
	}
	unreadable, condition := h.seen.blind(time.Now())
	c.Unreadable, c.Conditions = unreadable, []portlayer.Condition{condition}
	return c, nil
}

// limitBytes is a limit that vSphere has in MB; none stays none.
func limitBytes(limit *int64) *int64 {
	if limit == nil || *limit < 0 {
		return nil
	}
	b := *limit * mib
	return &b
}

// least is the lowest of a limit, of what a pool may use at most where that is known, and of what there is.
func least(limit *int64, maxUsage, there int64) int64 {
	n := there
	if maxUsage > 0 {
		n = min(n, maxUsage)
	}
	if limit != nil && *limit >= 0 {
		n = min(n, *limit)
	}
	return n
}

// processorTime makes a time that grows of the rates that are seen.
type processorTime struct {
	mu   sync.Mutex // guards what follows
	sum  time.Duration
	seen time.Time
}

func (p *processorTime) add(now time.Time, mhz, mhzPerCore int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.seen.IsZero() && mhzPerCore > 0 && mhz > 0 {
		p.sum += time.Duration(float64(now.Sub(p.seen)) * float64(mhz) / float64(mhzPerCore))
	}
	p.seen = now
	return p.sum
}

// Console is empty: vSphere shows a VM's console to people, and keeps none.
func (h *Hypervisor) Console(_ context.Context, uid string) ([]byte, error) {
	if _, err := h.seen.find(uid); err != nil {
		return nil, fmt.Errorf("console of VM %s: %w", uid, err)
	}
	return nil, nil
}
