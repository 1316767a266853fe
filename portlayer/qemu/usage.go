package qemu

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of processor times in /proc: USER_HZ, which is 100 on every architecture that Go knows.
const clockTick = time.Second / 100

// spent is the processor time of one QEMU when it was looked at last.
type spent struct {
	pid int
	cpu time.Duration
}

// used is what the VMs take of the machine: memory now, and processor time since this process began to look. The latter
// never goes back, also when VMs end: each look adds what came since the one before.
func (h *Hypervisor) used() (cpu time.Duration, memoryBytes int64) {
	now := map[string]spent{}
	for _, v := range h.known() {
		if _, p := v.current(); p != nil {
			now[v.uid] = spent{p.pid, cpuTime(p.pid)}
			memoryBytes += residentMemory(p.pid)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for uid, s := range now {
		was := h.spent[uid]
		if was.pid != s.pid {
			was.cpu = 0
		}
		h.cpu += max(0, s.cpu-was.cpu)
	}
	h.spent = now
	return h.cpu, memoryBytes
}

// cpuTime is the processor time of a process in user and kernel mode (proc_pid_stat(5)); 0 where that is not to be had.
func cpuTime(pid int) time.Duration {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	return parseCPUTime(string(b))
}

func parseCPUTime(stat string) time.Duration {
	// The name, in parentheses, may hold anything; fields are counted from behind it.
	const utime, stime = 11, 12
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) <= stime {
		return 0
	}
	var sum time.Duration
	for _, f := range []string{fields[utime], fields[stime]} {
		ticks, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0
		}
		sum += time.Duration(ticks) * clockTick
	}
	return sum
}
