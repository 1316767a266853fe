package qemu

import (
	"fmt"
	"os"
	"strings"

	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
)

// hostProcesses is what the kernel calls the process namespace of the machine itself (PROC_PID_INIT_INO,
// include/linux/proc_ns.h).
const hostProcesses = "pid:[4026531836]"

// OutliveProcess returns an error that says why a pod VM that this process starts can't outlive it, or nil. In a
// process namespace that ends with a container, as in a pod without hostPID, every VM would end with it.
func OutliveProcess() error {
	namespace, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return fmt.Errorf("find this process's namespace: %w", err)
	}
	if namespace == hostProcesses || cgroup.SystemdRuns() {
		return nil
	}
	first := "unknown"
	if name, err := os.ReadFile("/proc/1/comm"); err == nil {
		first = printable(strings.TrimSpace(string(name)), 16)
	}
	return fmt.Errorf("this process namespace is a container's: pod VMs would end with its first process (%s)", first)
}
