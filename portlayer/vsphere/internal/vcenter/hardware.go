package vcenter

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// mib is the unit of a cluster's effective memory.
const mib = 1 << 20

// Hardware is what hosts have that can run VMs.
type Hardware struct{ MHz, MHzPerCore, MemoryBytes int64 }

// unknownHardware is that of which nothing can be read: limits of the resource pool alone count.
func unknownHardware(mhzPerCore int64) Hardware {
	return Hardware{MHz: math.MaxInt64 / 1000, MHzPerCore: mhzPerCore, MemoryBytes: math.MaxInt64}
}

// ReadHardware is what the hosts of a cluster, or a lone host, have. blind is why it is not what the hosts themselves say: it
// is of the cluster's summary then, or with no right to read that either, unlimited and of mhzPerCore.
func ReadHardware(ctx context.Context, read *property.Collector, owner types.ManagedObjectReference, mhzPerCore int64) (hw Hardware, blind, err error) {
	hosts, blind := readHosts(ctx, read, owner)
	if blind == nil {
		return sumHosts(hosts), nil, nil
	}
	if !unreadable(blind) {
		return hw, nil, blind
	}
	var facts mo.ComputeResource
	err = read.RetrieveOne(ctx, owner, []string{"summary"}, &facts)
	if err != nil && !unreadable(err) {
		return hw, nil, err
	}
	if err == nil && facts.Summary != nil {
		hw = summedHardware(*facts.Summary.GetComputeResourceSummary())
	}
	switch {
	case hw.MHzPerCore > 0:
	case mhzPerCore > 0:
		hw = unknownHardware(mhzPerCore)
	default:
		return hw, nil, fmt.Errorf("neither hosts nor cluster can be read, and mhzPerCore is not set: %w", blind)
	}
	return hw, blind, nil
}

// errNoHosts says that none was shown.
var errNoHosts = errors.New("no hosts are shown")

func unreadable(err error) bool {
	return errors.Is(err, errNoHosts) || fault.Is(err, &types.NoPermission{})
}

func readHosts(ctx context.Context, read *property.Collector, owner types.ManagedObjectReference) ([]mo.HostSystem, error) {
	var facts mo.ComputeResource
	if err := read.RetrieveOne(ctx, owner, []string{"host"}, &facts); err != nil {
		return nil, err
	}
	if len(facts.Host) == 0 {
		return nil, errNoHosts
	}
	var hosts []mo.HostSystem
	err := read.Retrieve(ctx, facts.Host, []string{
		"summary.hardware", "summary.runtime.connectionState", "summary.runtime.inMaintenanceMode",
	}, &hosts)
	return hosts, err
}

func sumHosts(hosts []mo.HostSystem) Hardware {
	var sum Hardware
	for _, host := range hosts {
		hw, rt := host.Summary.Hardware, host.Summary.Runtime
		if hw == nil || rt == nil || rt.ConnectionState != types.HostSystemConnectionStateConnected || rt.InMaintenanceMode {
			continue
		}
		sum.MHz += int64(hw.CpuMhz) * int64(hw.NumCpuCores)
		sum.MHzPerCore = max(sum.MHzPerCore, int64(hw.CpuMhz))
		sum.MemoryBytes += hw.MemorySize
	}
	return sum
}

// summedHardware is what a cluster says of hosts that run VMs; nothing where it says nothing. vCenter gives effectiveMemory in MB
// (vSphere API reference, ComputeResourceSummary), govmomi's simulator in bytes: more than there is in all can't be MB.
func summedHardware(s types.ComputeResourceSummary) Hardware {
	if s.NumCpuCores <= 0 || s.TotalCpu <= 0 || s.TotalMemory <= 0 {
		return Hardware{}
	}
	memory := s.EffectiveMemory
	if memory <= s.TotalMemory/mib {
		memory *= mib
	}
	return Hardware{
		MHz: int64(s.EffectiveCpu), MHzPerCore: int64(s.TotalCpu) / int64(s.NumCpuCores), MemoryBytes: min(memory, s.TotalMemory),
	}
}
