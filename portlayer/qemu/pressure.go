package qemu

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
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

// resources are the machine's, whatever the VCH offers of them.
type resources struct {
	memory, storage room // bytes
	inodes, threads room
	// full says that a write has failed for want of room, whatever the file system says is left.
	full bool
}

// pressures are the conditions of a machine that has these left.
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

// measure reads what the machine has.
func (h *Hypervisor) measure() (resources, error) {
	memory, err := machineMemory()
	if err != nil {
		return resources{}, err
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(string(h.layout), &fs); err != nil {
		return resources{}, fmt.Errorf("room in %s: %w", h.layout, err)
	}
	return resources{
		memory:  room{memory.total, memory.available},
		storage: room{int64(fs.Blocks) * fs.Bsize, int64(fs.Bavail) * fs.Bsize},
		inodes:  room{int64(fs.Files), int64(fs.Ffree)},
		threads: machineThreads(),
	}, nil
}

// machineThreads counts what has a process ID: tasks, of which proc_loadavg(5) has the number. Nothing is known where
// /proc does not say.
func machineThreads() room {
	var r room
	for _, path := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
		text, err := os.ReadFile(path)
		if err != nil {
			return room{}
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return room{}
		}
		if r.total == 0 || limit < r.total {
			r.total = limit
		}
	}
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return room{}
	}
	used, ok := tasks(string(text))
	if !ok {
		return room{}
	}
	r.free = max(0, r.total-used)
	return r
}

// tasks reads the number behind the slash of "0.20 0.18 0.12 1/80 11206".
func tasks(loadavg string) (int64, bool) {
	_, rest, ok := strings.Cut(loadavg, "/")
	count, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(count, 10, 64)
	return n, ok && err == nil
}
