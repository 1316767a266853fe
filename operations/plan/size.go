package plan

import (
	"cmp"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
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
// A container counts with its limit, else its request, else the default, and the pod with what it needs at one time, plus
// the overhead. Nothing is taken of the scratch disk before it is written.
func Size(pod *corev1.Pod, d Defaults) (portlayer.Size, int64) {
	cpuMilli := together(pod, corev1.ResourceCPU, func(c *corev1.Container) int64 {
		return entitled(c, corev1.ResourceCPU, d.CPUMilli)
	})
	return portlayer.Size{
		VCPUs:       int(max(1, (cpuMilli+999)/1000)),
		CPUMilli:    cpuMilli,
		MemoryBytes: roundUp(podMemory(pod, d)+d.OverheadBytes, memoryStep),
	}, scratchBytes(pod, d)
}

// podMemory is what the containers of pod may use together.
func podMemory(pod *corev1.Pod, d Defaults) int64 {
	return together(pod, corev1.ResourceMemory, func(c *corev1.Container) int64 {
		return entitled(c, corev1.ResourceMemory, d.MemoryBytes)
	})
}

// together is what the containers of pod take at one time at most, when each takes what of says: all but the init
// containers, or one of these beside the sidecars before it. It is the rule of the scheduler; a limit or request of the
// pod as a whole comes before it.
func together(pod *corev1.Pod, name corev1.ResourceName, of func(*corev1.Container) int64) int64 {
	if r := pod.Spec.Resources; r != nil {
		if whole := cmp.Or(amount(r.Limits, name), amount(r.Requests, name)); whole > 0 {
			return whole
		}
	}
	var sidecars, others, initial int64
	for _, m := range Members(pod) {
		switch m.Role {
		case wire.RoleSidecar:
			sidecars += of(m.Container)
		case wire.RoleInit:
			initial = max(initial, sidecars+of(m.Container))
		case wire.RoleApp:
			others += of(m.Container)
		case wire.RoleEphemeral: // has no resources of its own
		}
	}
	return max(initial, sidecars+others)
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

// scratchBytes is what the ephemeral-storage limits allow where each container has one. Elsewhere it is the default, or
// what the emptyDir volumes may hold where that is more.
func scratchBytes(pod *corev1.Pod, d Defaults) int64 {
	limited := true
	limits := together(pod, corev1.ResourceEphemeralStorage, func(c *corev1.Container) int64 {
		v := amount(c.Resources.Limits, corev1.ResourceEphemeralStorage)
		limited = limited && v > 0
		return v
	})
	if limited && limits > 0 {
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
