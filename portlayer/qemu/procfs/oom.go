package procfs

import (
	"fmt"
	"os"
	"strconv"
)

// VMScore is the oom_score_adj of a VM's process (proc_pid_oom_score_adj(5), -1000 to 1000): it counts as if it had half of the
// host's memory beside its own. So the kernel ends a VM before any process that nobody has adjusted, such as sshd, and
// among VMs the one that has touched most. The kubelet's formula needs the pod's QoS class, which this layer does not know;
// whoever evicts pods by class does so long before the kernel has to.
const VMScore = 500

// SetOOMScore says how soon the kernel is to end a process when memory runs out. Everyone may raise the score of his own
// processes, which else have that of the process that started them.
func SetOOMScore(pid, score int) error {
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(score)), 0); err != nil {
		return fmt.Errorf("set score for when memory runs out: %w", err)
	}
	return nil
}
