package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/config"
)

// VirtualContainerHost is a place that runs pod VMs, and is a node of the cluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=vch
// +kubebuilder:subresource:status
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 || size(self.spec.nodeName) > 0",message="spec.nodeName is needed: the name of the object is longer than 63 characters"
// +kubebuilder:printcolumn:name="Node",type=string,JSONPath=`.status.nodeName`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Pods",type=string,JSONPath=`.status.inUse.pods`
// +kubebuilder:printcolumn:name="CPU",type=string,JSONPath=`.status.capacity.cpu`
// +kubebuilder:printcolumn:name="Memory",type=string,JSONPath=`.status.capacity.memory`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.status.version`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type VirtualContainerHost struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   config.VCH                 `json:"spec"`
	Status VirtualContainerHostStatus `json:"status,omitempty"`
}

// VirtualContainerHostList is a list of them.
//
// +kubebuilder:object:root=true
type VirtualContainerHostList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []VirtualContainerHost `json:"items"`
}

// VirtualContainerHostStatus is what vic found.
type VirtualContainerHostStatus struct {
	// NodeName is the node that this VCH is.
	// +optional
	NodeName string `json:"nodeName,omitempty"`
	// Conditions: Accepted (the spec is served), Ready (the node takes pods), and, while it is being deleted, Removable.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// Capacity is what the node offers.
	// +optional
	Capacity corev1.ResourceList `json:"capacity,omitempty"`
	// InUse is what pod VMs have of it: cpu and memory of their sizes, pods their number.
	// +optional
	InUse corev1.ResourceList `json:"inUse,omitempty"`
	// Version of the vic that serves it.
	// +optional
	Version string `json:"version,omitempty"`
}

// The conditions of a VirtualContainerHost.
const (
	// ConditionAccepted is True when the spec, as it is now, is what is served. A change that is refused makes it False,
	// and the node goes on as it was.
	ConditionAccepted = "Accepted"
	// ConditionReady is True when the node is Ready.
	ConditionReady = "Ready"
	// ConditionRemovable is there while the object is being deleted, and says what is waited for.
	ConditionRemovable = "Removable"
)

// Node is the name of the node that the VCH is.
func (v *VirtualContainerHost) Node() string {
	if v.Spec.NodeName != "" {
		return v.Spec.NodeName
	}
	return v.Name
}
