package plan

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	mebi = 1 << 20
	gibi = 1 << 30
)

// Defaults are what a pod gets where its spec says nothing.
type Defaults struct {
	// CPUMilli and MemoryBytes stand for a container that has neither a limit nor a request.
	CPUMilli    int64
	MemoryBytes int64
	// OverheadBytes is the memory of the VM beyond what its containers may use: the kernel's and the guest's.
	OverheadBytes int64
	// ScratchBytes is the size of the writable disk of a pod without an ephemeral-storage limit.
	ScratchBytes int64
}

// StandardDefaults are 1 processor, 512 MiB, 128 MiB of overhead and 10 GiB of scratch disk.
func StandardDefaults() Defaults {
	return Defaults{CPUMilli: 1000, MemoryBytes: 512 * mebi, OverheadBytes: 128 * mebi, ScratchBytes: 10 * gibi}
}

// Size returns the size of the VM for pod, and of its scratch disk in bytes.
func Size(pod *corev1.Pod, d Defaults) (portlayer.Size, int64) {
	return portlayer.Size{}, 0
}
