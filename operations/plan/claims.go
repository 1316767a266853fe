package plan

import (
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Disk is the disk of a claim in the pod's VM.
type Disk struct {
	// Serial is its serial number.
	Serial string
	// ReadOnly is true when nothing may be written to it.
	ReadOnly bool
	// Block is true when containers have it as a device, and not a file system on it.
	Block bool
}

// Claims returns the mounted volumes that are claims of persistent volumes, made for the pod or before it.
func Claims(pod *corev1.Pod) []corev1.Volume {
	return slices.DeleteFunc(Mounted(pod), func(v corev1.Volume) bool { return !isClaim(&v) })
}

// ClaimName is the name of the claim that v is; empty where it is none. One that is made for the pod has the pod's name.
func ClaimName(pod *corev1.Pod, v *corev1.Volume) string {
	switch {
	case v.PersistentVolumeClaim != nil:
		return v.PersistentVolumeClaim.ClaimName
	case v.Ephemeral != nil:
		return pod.Name + "-" + v.Name
	}
	return ""
}

func isClaim(v *corev1.Volume) bool { return v.PersistentVolumeClaim != nil || v.Ephemeral != nil }

// devices are the volumes that c has as devices.
func devices(c *corev1.Container) []wire.Device {
	var all []wire.Device
	for _, d := range c.VolumeDevices {
		all = append(all, wire.Device{Volume: d.Name, Path: path.Clean("/" + d.DevicePath)})
	}
	return all
}

// claimReadOnly reports whether the pod itself wants nothing to be written to a volume.
func claimReadOnly(pod *corev1.Pod, volume string) bool {
	return slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool {
		return v.Name == volume && v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly
	})
}

// diskVolume is a volume that is a disk. It can be written where one of the volumes that share the disk can.
func diskVolume(name string, disks map[string]Disk) wire.Volume {
	v := wire.Volume{Name: name, Kind: wire.VolumeDisk, Disk: disks[name].Serial, ReadOnly: true}
	if disks[name].Block {
		v.Kind = wire.VolumeDevice
	}
	for _, d := range disks {
		v.ReadOnly = v.ReadOnly && (d.Serial != v.Disk || d.ReadOnly)
	}
	return v
}
