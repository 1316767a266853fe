package vcenter

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sys/unix"
)

// newModel is one datacenter with a cluster of one host, which is this machine, and no VM.
func newModel() *simulator.Model {
	m := simulator.VPX()
	m.Machine, m.Host, m.ClusterHost = 0, 0, 1
	return m
}

// furnish gives the inventory what the machine has, where the simulator has figures of its own, and the datastore its
// directory. Nobody else uses it yet.
func (v *Server) furnish() error {
	var machine unix.Sysinfo_t
	if err := unix.Sysinfo(&machine); err != nil {
		return fmt.Errorf("read the machine's memory: %w", err)
	}
	memory := int64(machine.Totalram) * int64(machine.Unit)
	cores := int64(runtime.NumCPU())
	registry := v.model.Map()
	var mhz int64
	for _, e := range registry.All("HostSystem") {
		if host, ok := e.(*simulator.HostSystem); ok {
			hw := host.Summary.Hardware
			hw.NumCpuCores, hw.NumCpuThreads, hw.MemorySize = int16(cores), int16(cores), memory
			mhz = int64(hw.CpuMhz) * cores
		}
	}
	v.host = capacity{mhz, memory}
	for _, e := range registry.All("ResourcePool") {
		if pool, ok := e.(*simulator.ResourcePool); ok {
			v.host.furnish(pool)
			pool.Config.CpuAllocation.Limit, pool.Config.MemoryAllocation.Limit = types.NewInt64(-1), types.NewInt64(-1)
		}
	}
	return v.furnishDatastore()
}

// capacity is what the host has.
type capacity struct{ mhz, memoryBytes int64 }

// furnish lets a pool use all of it.
func (c capacity) furnish(pool *simulator.ResourcePool) {
	cpu, ram := &pool.Runtime.Cpu, &pool.Runtime.Memory
	cpu.MaxUsage, cpu.UnreservedForPool, cpu.UnreservedForVm = c.mhz, c.mhz, c.mhz
	ram.MaxUsage, ram.UnreservedForPool, ram.UnreservedForVm = c.memoryBytes, c.memoryBytes, c.memoryBytes
}

func (v *Server) furnishDatastore() error {
	dir := v.datastoreDir()
	// What a former vCenter left belongs to nothing.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var space unix.Statfs_t
	if err := unix.Statfs(dir, &space); err != nil {
		return fmt.Errorf("read space of %s: %w", dir, err)
	}
	for _, e := range v.model.Map().All("Datastore") {
		if store, ok := e.(*simulator.Datastore); ok {
			info := store.Info.GetDatastoreInfo()
			info.Url, store.Summary.Url = dir, dir
			store.Summary.Capacity = int64(space.Blocks) * space.Bsize
			store.Summary.FreeSpace = int64(space.Bavail) * space.Bsize
			info.FreeSpace = store.Summary.FreeSpace
		}
	}
	return nil
}

func (v *Server) datastoreDir() string { return filepath.Join(v.config.Dir, "datastore") }
