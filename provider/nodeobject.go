package provider

import (
	"maps"
	"runtime"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/nodedeclaredfeatures/features/volumebindmountoptions"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/portlayer"
)

// Description is what the Node object says of the node and does not change while it runs.
type Description struct {
	// InternalIP is where the API server reaches the kubelet's API, and the hostIP of pods.
	InternalIP string
	// Hostname is the node's name where empty.
	Hostname string
	// InstanceType, Zone and Region become well-known labels where set.
	InstanceType, Zone, Region string
	// ProviderID is set once, when the node is registered.
	ProviderID string
	// Labels and Annotations come beside our own and win over them.
	Labels, Annotations map[string]string
	// Taints are all taints of ours; those of others stay.
	Taints []corev1.Taint
	// Reserved is subtracted from the capacity: what the machine needs beside pods.
	Reserved corev1.ResourceList

	// KubeletVersion begins with the Kubernetes version that is implemented, such as v1.37.1-vic-0.1.0.
	KubeletVersion string
	// KernelVersion is that of the guests, OSImage what is around it.
	KernelVersion, OSImage string
	// RuntimeVersion is vic://<version>.
	RuntimeVersion string
	// MachineID identifies an installation (machine-id(5)), SystemUUID a host (SMBIOS), BootID its boot. Where a
	// machine has none they are empty.
	MachineID, SystemUUID, BootID string
}

// health is what the node says of itself; the VCH's conditions come beside it.
type health struct {
	ready           bool
	reason, message string
}

// observation is what the Node object says of the node and may change at any time.
type observation struct {
	capacity portlayer.Capacity
	health   health
	at       time.Time
}

// nodeObject builds the Node object. Transition times are those of the observation; see keepTransitions.
func nodeObject(name string, d *Description, port int32, o observation) *corev1.Node {
	capacity := CapacityOf(o.capacity)
	hostname := d.Hostname
	if hostname == "" {
		hostname = name
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labelsOf(hostname, d), Annotations: maps.Clone(d.Annotations)},
		Spec:       corev1.NodeSpec{Taints: d.Taints, ProviderID: d.ProviderID},
		Status: corev1.NodeStatus{
			Capacity:    capacity,
			Allocatable: Allocatable(capacity, d.Reserved),
			Conditions:  conditionsOf(o.capacity, o.health, metav1.NewTime(o.at)),
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeInternalIP, Address: d.InternalIP},
				{Type: corev1.NodeHostName, Address: hostname},
			},
			DeclaredFeatures: []string{volumebindmountoptions.VolumeBindMountOptionsFeatureName},
			DaemonEndpoints:  corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
			NodeInfo: corev1.NodeSystemInfo{
				MachineID:               d.MachineID,
				SystemUUID:              d.SystemUUID,
				BootID:                  d.BootID,
				KernelVersion:           d.KernelVersion,
				OSImage:                 d.OSImage,
				ContainerRuntimeVersion: d.RuntimeVersion,
				KubeletVersion:          d.KubeletVersion,
				OperatingSystem:         "linux",
				Architecture:            runtime.GOARCH,
			},
		},
	}
}

// labelsOf are labels that a node may give itself: the admission plug-in NodeRestriction refuses most others of kubernetes.io.
func labelsOf(hostname string, d *Description) map[string]string {
	labels := map[string]string{
		config.NodeTypeLabel:             config.NodeType,
		corev1.LabelHostname:             hostname,
		corev1.LabelOSStable:             "linux",
		corev1.LabelArchStable:           runtime.GOARCH,
		corev1.LabelNodeExcludeBalancers: "",
	}
	for key, value := range map[string]string{
		corev1.LabelInstanceTypeStable: d.InstanceType,
		corev1.LabelTopologyZone:       d.Zone,
		corev1.LabelTopologyRegion:     d.Region,
	} {
		if value != "" {
			labels[key] = value
		}
	}
	maps.Copy(labels, d.Labels)
	return labels
}

// CapacityOf puts what a VCH offers into Kubernetes' words.
func CapacityOf(c portlayer.Capacity) corev1.ResourceList {
	return corev1.ResourceList{
		corev1.ResourceCPU:              *resource.NewMilliQuantity(c.CPUMilli, resource.DecimalSI),
		corev1.ResourceMemory:           *resource.NewQuantity(c.MemoryBytes, resource.BinarySI),
		corev1.ResourceEphemeralStorage: *resource.NewQuantity(c.StorageBytes, resource.BinarySI),
		corev1.ResourcePods:             *resource.NewQuantity(c.Pods, resource.DecimalSI),
	}
}

// Allocatable is what of a capacity is for pods.
func Allocatable(capacity, reserved corev1.ResourceList) corev1.ResourceList {
	left := capacity.DeepCopy()
	for name, quantity := range left {
		quantity.Sub(reserved[name])
		if quantity.Sign() < 0 {
			quantity = *resource.NewQuantity(0, quantity.Format)
		}
		left[name] = quantity
	}
	return left
}

// conditionsOf are the kubelet's, with what the VCH says of them, and what it says beside them. The node is Ready when both say so.
func conditionsOf(c portlayer.Capacity, h health, now metav1.Time) []corev1.NodeCondition {
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: statusOf(h.ready), Reason: h.reason, Message: h.message}
	conditions := []corev1.NodeCondition{
		{Type: corev1.NodeMemoryPressure, Reason: "VCHHasSufficientMemory", Message: "the VCH has enough free memory"},
		{Type: corev1.NodeDiskPressure, Reason: "VCHHasNoDiskPressure", Message: "the VCH has enough free storage"},
		{Type: corev1.NodePIDPressure, Reason: "VMsHaveOwnPIDs", Message: "every pod has a kernel of its own"},
		{Type: corev1.NodeNetworkUnavailable, Reason: "VCHNetworkReady", Message: "pods get their addresses from the VCH"},
	}
	for _, said := range c.Conditions {
		if said.Type == string(corev1.NodeReady) {
			if h.ready {
				ready.Status, ready.Reason, ready.Message = statusOf(said.True), said.Reason, said.Message
			}
			continue
		}
		one := corev1.NodeCondition{
			Type: corev1.NodeConditionType(said.Type), Status: statusOf(said.True), Reason: said.Reason, Message: said.Message,
		}
		i := slices.IndexFunc(conditions, func(c corev1.NodeCondition) bool { return c.Type == one.Type })
		if i < 0 {
			conditions = append(conditions, one)
		} else {
			conditions[i] = one
		}
	}
	conditions = append(conditions, ready)
	for i := range conditions {
		if conditions[i].Status == "" {
			conditions[i].Status = corev1.ConditionFalse
		}
		conditions[i].LastHeartbeatTime, conditions[i].LastTransitionTime = now, now
	}
	return conditions
}

func statusOf(b bool) corev1.ConditionStatus {
	if b {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

// keepTransitions takes over the transition time of each condition that is as it was in before.
func keepTransitions(conditions, before []corev1.NodeCondition) {
	for i := range conditions {
		for _, b := range before {
			if b.Type == conditions[i].Type && b.Status == conditions[i].Status && !b.LastTransitionTime.IsZero() {
				conditions[i].LastTransitionTime = b.LastTransitionTime
			}
		}
	}
}
