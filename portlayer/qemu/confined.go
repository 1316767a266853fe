package qemu

import (
	"slices"
	"strings"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
)

// What the condition of VMs that are less confined than they should be says.
const (
	conditionUnconfined = "PodVMsUnconfined"
	reasonConfined      = "Confined"
	reasonUnbounded     = "MemoryUnbounded"
	reasonHostFiles     = "HostFilesVisible"
)

// confinementCondition looks at the VMs that run.
func (h *Hypervisor) confinementCondition() portlayer.Condition {
	c := portlayer.Condition{Type: conditionUnconfined, Reason: reasonConfined, Message: "the pod VMs that run are bounded and confined"}
	var unbounded, open []string
	for _, v := range h.known() {
		r, p := v.current()
		if p == nil {
			continue
		}
		if !cgroup.Bounded(p.pid, string(h.layout), v.uid) {
			unbounded = append(unbounded, v.uid)
		}
		if h.apart(r) && !rootIsEmpty(p.pid) {
			open = append(open, v.uid)
		}
	}
	say := func(reason, what string, uids []string) {
		if len(uids) == 0 {
			return
		}
		if !c.True {
			c.True, c.Reason, c.Message = true, reason, ""
		} else {
			c.Message += "; "
		}
		slices.Sort(uids)
		c.Message += what + strings.Join(uids, ", ")
	}
	say(reasonUnbounded, "no systemd unit and no control group bounds the memory of VM ", unbounded)
	say(reasonHostFiles, "files of the host are within reach of the QEMU of VM ", open)
	return c
}
