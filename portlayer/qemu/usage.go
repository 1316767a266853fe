package qemu

import (
	"time"

	"github.com/virtual-kubelet/vic/portlayer/qemu/procfs"
)

// spent is the processor time of one QEMU when it was looked at last.
type spent struct {
	pid int
	cpu time.Duration
}

// used is what the VMs take of the host: memory now, and processor time since this process began to look. The latter
// never goes back, also when VMs end: each look adds what came since the one before.
func (h *Hypervisor) used() (cpu time.Duration, memoryBytes int64) {
	now := map[string]spent{}
	for _, v := range h.known() {
		if _, p := v.current(); p != nil {
			now[v.uid] = spent{p.pid, procfs.CPUTime(p.pid)}
			memoryBytes += procfs.OwnBytes(p.pid)
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
