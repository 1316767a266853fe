package config

import (
	corev1 "k8s.io/api/core/v1"
)

// Labels of nodes.
const (
	// NodeTypeLabel has the value NodeType on each node of a virtual kubelet.
	NodeTypeLabel = "type"
	// NodeType is the value of NodeTypeLabel.
	NodeType = "virtual-kubelet"
	// OwnLabels begins the labels that are for vic alone.
	OwnLabels = "vic.virtual-kubelet.io/"
	// OwnerLabel has the UID of its VirtualContainerHost on each node that was made for one; others are never touched.
	OwnerLabel = OwnLabels + "vch-uid"
)

// VCH says where pod VMs run, and what their node is like.
//
// +kubebuilder:validation:XValidation:rule="has(self.qemu) != has(self.vsphere)",message="exactly one of qemu and vsphere is needed"
// +kubebuilder:validation:XValidation:rule="has(self.vsphere) == has(oldSelf.vsphere)",message="the hypervisor can't change: pods are there"
// +kubebuilder:validation:XValidation:rule="!has(self.vsphere) || size(self.subnet) > 0",message="subnet is needed: it is that of the port group vsphere.network"
type VCH struct {
	// NodeName is the name of the node. The default is the name of the VCH.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="nodeName can't change: pods are bound to it"
	NodeName string `json:"nodeName,omitempty"`
	// Address is where the API server reaches the node, its InternalIP. The default is this host's address on the route to the
	// API server.
	// +optional
	Address string `json:"address,omitempty"`
	// Port is where the kubelet API listens. 0 takes a free port; where a process serves one node, it is 10250.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
	// Subnet holds the addresses of pods, such as 192.0.2.0/24. On vSphere it is the subnet of the port group and is needed; on
	// QEMU the default is derived from the state directory.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="subnet can't change: pod VMs have addresses of it"
	Subnet string `json:"subnet,omitempty"`
	// Limits are what the node offers at most: cpu, memory, pods, and on QEMU ephemeral-storage. The defaults are what the
	// host or the resource pool has, and 110 pods.
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
	// Reserved is kept from pods: cpu, memory, ephemeral-storage.
	// +optional
	Reserved corev1.ResourceList `json:"reserved,omitempty"`
	// Labels of the node, beside those that vic sets: type, kubernetes.io/hostname and all of vic.virtual-kubelet.io.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(key, !(key in ['type', 'kubernetes.io/hostname']) && !key.startsWith('vic.virtual-kubelet.io/'))",message="type, kubernetes.io/hostname and all of vic.virtual-kubelet.io are set by vic"
	Labels map[string]string `json:"labels,omitempty"`
	// Taints of the node. The default is virtual-kubelet.io/provider=vic:NoSchedule; an empty list means none.
	// +optional
	Taints *[]corev1.Taint `json:"taints,omitempty"`
	// DeletionPolicy says what happens to the pods when the VCH is deleted. Refuse waits until there are none. Drain evicts them.
	// Orphan removes the node at once and leaves the VMs running. The node is cordoned in any case. Pods of DaemonSets are not
	// waited for.
	// +kubebuilder:default=Refuse
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// QEMU runs the VMs on this host. Only a vic node with a file serves it, not one that serves the objects of a cluster. It
	// is the default in a file.
	// +optional
	QEMU *QEMU `json:"qemu,omitempty"`
	// VSphere is the place on vSphere where the VMs run.
	// +optional
	VSphere *VSphere `json:"vsphere,omitempty"`
}

// DeletionPolicy says what happens to the pods of a VCH that is deleted.
//
// +kubebuilder:validation:Enum=Refuse;Drain;Orphan
type DeletionPolicy string

// The deletion policies.
const (
	DeletionRefuse DeletionPolicy = "Refuse"
	DeletionDrain  DeletionPolicy = "Drain"
	DeletionOrphan DeletionPolicy = "Orphan"
)

// QEMU is a VCH on this host. What all VCHs of a host share, such as the accelerator, is in Node.
type QEMU struct{}

// Entry is a VCH of a file: what metadata.name and spec are in a VirtualContainerHost.
type Entry struct {
	// Name of the VCH, the same for as long as it has pods.
	Name string `json:"name"`
	VCH  `json:",inline"`

	path string // of the spec in its file, for errors
}

// TaintKey is that of the taint which keeps pods away that don't ask for a virtual node.
const TaintKey = "virtual-kubelet.io/provider"

// DefaultTaint is the taint of a node whose VCH says nothing of taints.
func DefaultTaint() corev1.Taint {
	return corev1.Taint{Key: TaintKey, Value: "vic", Effect: corev1.TaintEffectNoSchedule}
}

// OfObject returns the entry of a VirtualContainerHost, with defaults. It keeps nothing of spec.
func OfObject(name string, spec *VCH) Entry {
	e := Entry{Name: name, VCH: *spec.DeepCopy(), path: "spec"}
	e.SetDefaults()
	return e
}

// FieldPath is the path of one of e's fields, as errors name it.
func (e *Entry) FieldPath(field string) string { return join(e.path, field) }

// SetDefaults sets what e does not say.
func (e *Entry) SetDefaults() { e.VCH.SetDefaults(e.Name) }

// SetDefaults sets what a VCH of that name does not say. What a machine or vCenter decides stays unset.
func (v *VCH) SetDefaults(name string) {
	if v.NodeName == "" {
		v.NodeName = name
	}
	if v.Taints == nil {
		v.Taints = &[]corev1.Taint{DefaultTaint()}
	}
	if v.VSphere == nil && v.QEMU == nil {
		v.QEMU = &QEMU{}
	}
	if s := v.VSphere; s != nil && s.Directory == "" {
		s.Directory = "vic/" + name
	}
}
