package plan

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	mebi = 1 << 20
	gibi = 1 << 30

	memoryStep = 4 * mebi // portlayer.Size.MemoryBytes is a multiple of it
	// scratchOverhead is what the file system takes of a scratch disk for itself; a small limit must still be usable.
	scratchOverhead = 64 * mebi
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
//
// A container counts with its limit, else its request, else the default; the sum plus the overhead is the VM. Nothing is
// taken of the scratch disk before it is written.
func Size(pod *corev1.Pod, d Defaults) (portlayer.Size, int64) {
	var cpuMilli int64
	for i := range pod.Spec.Containers {
		cpuMilli += entitled(&pod.Spec.Containers[i], corev1.ResourceCPU, d.CPUMilli)
	}
	return portlayer.Size{
		VCPUs:       int(max(1, (cpuMilli+999)/1000)),
		CPUMilli:    cpuMilli,
		MemoryBytes: roundUp(podMemory(pod, d)+d.OverheadBytes, memoryStep),
	}, scratchBytes(pod, d)
}

// podMemory is what the containers of pod may use together.
func podMemory(pod *corev1.Pod, d Defaults) int64 {
	var sum int64
	for i := range pod.Spec.Containers {
		sum += entitled(&pod.Spec.Containers[i], corev1.ResourceMemory, d.MemoryBytes)
	}
	return sum
}

// entitled is c's limit, its request or otherwise; processors are in thousandths.
func entitled(c *corev1.Container, name corev1.ResourceName, otherwise int64) int64 {
	for _, list := range []corev1.ResourceList{c.Resources.Limits, c.Resources.Requests} {
		if v := amount(list, name); v > 0 {
			return v
		}
	}
	return otherwise
}

func amount(list corev1.ResourceList, name corev1.ResourceName) int64 {
	q, ok := list[name]
	switch {
	case !ok:
		return 0
	case name == corev1.ResourceCPU:
		return q.MilliValue()
	}
	return q.Value()
}

// scratchBytes is the sum of the ephemeral-storage limits where each container has one. Elsewhere it is the default,
// or what the emptyDir volumes may hold where that is more.
func scratchBytes(pod *corev1.Pod, d Defaults) int64 {
	var limits int64
	limited := len(pod.Spec.Containers) > 0
	for i := range pod.Spec.Containers {
		v := amount(pod.Spec.Containers[i].Resources.Limits, corev1.ResourceEphemeralStorage)
		limits += v
		limited = limited && v > 0
	}
	if limited {
		return roundUp(limits+scratchOverhead, mebi)
	}
	var emptyDirs int64
	for i := range pod.Spec.Volumes {
		e := pod.Spec.Volumes[i].EmptyDir
		if e != nil && e.Medium != corev1.StorageMediumMemory && e.SizeLimit != nil {
			emptyDirs += e.SizeLimit.Value()
		}
	}
	return roundUp(max(d.ScratchBytes, limits+scratchOverhead, emptyDirs+scratchOverhead), mebi)
}

func roundUp(v, step int64) int64 { return (v + step - 1) / step * step }
