package qemu

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/procfs"
)

// Pressure is reported below these, the kubelet's hard eviction thresholds (KubeletConfiguration, evictionHard). It has none
// for processes; a VM takes a handful of threads.
const (
	memoryPressureBytes  = 100 * mib
	diskPressurePercent  = 10
	inodePressurePercent = 5
	pidPressurePercent   = 5
)

const (
	conditionMemory = "MemoryPressure"
	conditionDisk   = "DiskPressure"
	conditionPID    = "PIDPressure"
)

// room is what there is of something, and what is left of it.
type room struct{ total, free int64 }

// below reports whether less than that part is left; of what is not counted (inodes of btrfs) there is enough.
func (r room) below(percent int64) bool { return r.total > 0 && r.free < r.total/100*percent }

func (r room) String() string {
	return fmt.Sprintf("%d of %d", r.free, r.total)
}

// resources are the host's, whatever the VCH offers of them.
type resources struct {
	memory, storage room // bytes
	inodes, threads room
	// full says that a write has failed for want of room, whatever the file system says is left.
	full bool
}

// pressures are the conditions of a host that has these left.
func (r resources) pressures() []portlayer.Condition {
	memory := portlayer.Condition{Type: conditionMemory, Reason: "VCHHasSufficientMemory", Message: "the machine has enough free memory"}
	if r.memory.free < memoryPressureBytes {
		memory.True, memory.Reason = true, "VCHHasInsufficientMemory"
		memory.Message = fmt.Sprintf("the machine has %d MiB of memory left, and should have %d MiB", r.memory.free/mib, memoryPressureBytes/mib)
	}
	disk := portlayer.Condition{Type: conditionDisk, Reason: "VCHHasNoDiskPressure", Message: "the state directory's disk has enough room"}
	if why := r.diskPressure(); why != "" {
		disk.True, disk.Reason, disk.Message = true, "VCHHasDiskPressure", "the state directory's disk "+why
	}
	pid := portlayer.Condition{Type: conditionPID, Reason: "VCHHasSufficientPID", Message: "the machine has enough process IDs, and pods have their own"}
	if r.threads.below(pidPressurePercent) {
		pid.True, pid.Reason = true, "VCHHasInsufficientPID"
		pid.Message = fmt.Sprintf("the machine has %s process IDs left, and should have %d %%", r.threads, pidPressurePercent)
	}
	return []portlayer.Condition{memory, disk, pid}
}

func (r resources) diskPressure() string {
	switch {
	case r.full:
		return "takes no more"
	case r.storage.below(diskPressurePercent):
		return fmt.Sprintf("has %d MiB of %d MiB left, and should have %d %%", r.storage.free/mib, r.storage.total/mib, diskPressurePercent)
	case r.inodes.below(inodePressurePercent):
		return fmt.Sprintf("has %s inodes left, and should have %d %%", r.inodes, inodePressurePercent)
	}
	return ""
}

// measure reads what the host has.
func (h *Hypervisor) measure() (resources, error) {
	total, available, err := procfs.Memory()
	if err != nil {
		return resources{}, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(string(h.layout), &fs); err != nil {
		return resources{}, fmt.Errorf("room in %s: %w", h.layout, err)
	}
	var threads room
	threads.total, threads.free = procfs.ProcessIDs()
	return resources{
		memory:  room{total, available},
		storage: room{int64(fs.Blocks) * fs.Bsize, int64(fs.Bavail) * fs.Bsize},
		inodes:  room{int64(fs.Files), int64(fs.Ffree)},
		threads: threads,
	}, nil
}
