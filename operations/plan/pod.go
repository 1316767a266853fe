package plan

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// PodInputs are what Pod needs beside the pod's spec.
type PodInputs struct {
	DNS wire.DNS
	// PodIP is the address that /etc/hosts gives to the pod's own name; the zero Addr leaves the line out.
	PodIP netip.Addr
	// ClusterDomain is the domain of the cluster's services, such as cluster.local.
	ClusterDomain string
	// ScratchDisk is the serial number of the scratch disk.
	ScratchDisk string
	Seeds       []wire.Seed
	Defaults    Defaults
}

// Pod returns what all containers of pod share. Interfaces, time and entropy are the host's to add.
func Pod(pod *corev1.Pod, in PodInputs) wire.Pod { return wire.Pod{} }

// Mounted returns the volumes of pod that a container mounts, in the order of the spec. Like the kubelet, nothing else
// is filled: a volume that nobody mounts may refer to what does not exist.
func Mounted(pod *corev1.Pod) []corev1.Volume { return nil }

// FileVolumes returns the mounted volumes whose content the host delivers with wire.Files.
func FileVolumes(pod *corev1.Pod) []corev1.Volume { return nil }

// Hostname is the name that pod has inside: spec.hostname, else its own, cut to the 63 characters that Linux takes.
func Hostname(pod *corev1.Pod) string { return "" }
