package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Mounted returns the volumes of pod that a container mounts or has as devices, in the order of the spec. Like the kubelet, nothing else
// is filled: a volume that nobody mounts may refer to what does not exist.
func Mounted(pod *corev1.Pod) []corev1.Volume {
	used := map[string]bool{}
	for _, c := range Members(pod) {
		for _, m := range c.VolumeMounts {
			used[m.Name] = true
		}
		for _, d := range c.VolumeDevices {
			used[d.Name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(pod.Spec.Volumes), func(v corev1.Volume) bool { return !used[v.Name] })
}

// FileVolumes returns the mounted volumes whose content the host delivers with wire.Files.
func FileVolumes(pod *corev1.Pod) []corev1.Volume {
	return slices.DeleteFunc(Mounted(pod), func(v corev1.Volume) bool { return v.EmptyDir != nil || isClaim(&v) })
}

// guestVolumes are all volumes of pod, since an ephemeral container may mount what no other does, but for claims whose disks
// the VM does not have.
func guestVolumes(pod *corev1.Pod, disks map[string]Disk, d Defaults) []wire.Volume {
	all := make([]wire.Volume, 0, len(pod.Spec.Volumes))
	for i := range pod.Spec.Volumes {
		v := wire.Volume{Name: pod.Spec.Volumes[i].Name, Kind: wire.VolumeFiles}
		if isClaim(&pod.Spec.Volumes[i]) {
			if _, ok := disks[v.Name]; ok {
				all = append(all, diskVolume(v.Name, disks))
			}
			continue
		}
		if e := pod.Spec.Volumes[i].EmptyDir; e != nil {
			v.Kind, v.Mode = wire.VolumeScratch, directoryMode(e)
			if e.Medium == corev1.StorageMediumMemory {
				v.Kind, v.SizeBytes = wire.VolumeMemory, memoryVolumeBytes(e, podMemory(pod, d))
			}
		}
		all = append(all, v)
	}
	return all
}

func directoryMode(e *corev1.EmptyDirVolumeSource) *uint32 {
	if e.Mode == nil {
		return nil
	}
	return new(uint32(*e.Mode))
}

// memoryVolumeBytes is the limit of a volume in memory: its own, and never more than the containers' together, since
// what they write there counts as theirs.
func memoryVolumeBytes(e *corev1.EmptyDirVolumeSource, podBytes int64) int64 {
	if e.SizeLimit == nil || e.SizeLimit.Value() <= 0 {
		return podBytes
	}
	return min(e.SizeLimit.Value(), podBytes)
}
