package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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

	Spec   VirtualContainerHostSpec   `json:"spec"`
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

// VirtualContainerHostSpec says where pod VMs run, and what their node is like.
type VirtualContainerHostSpec struct {
	// NodeName is the node's; default: the name of this object.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?)?$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="nodeName can't change: pods are bound to it"
	NodeName string `json:"nodeName,omitempty"`
	// Hypervisor is what runs the VMs. A QEMU VCH is a machine's own, and told of in the file of its vic node.
	// +kubebuilder:default=vsphere
	// +kubebuilder:validation:Enum=vsphere
	Hypervisor string `json:"hypervisor,omitempty"`
	// VSphere is the place on vSphere.
	VSphere VSphere `json:"vsphere"`
	// Subnet is that of the port group, such as 192.0.2.0/24.
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="subnet can't change: pod VMs have addresses of it"
	Subnet string `json:"subnet"`
	// Port of the kubelet API; 0 takes a free one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
	// Limits are what the node offers at most: cpu, memory, pods. Default: what the pool has, and 110 pods.
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
	// Reserved is kept from pods: cpu, memory, ephemeral-storage.
	// +optional
	Reserved corev1.ResourceList `json:"reserved,omitempty"`
	// Labels of the node.
	// +optional
	Labels map[string]string `json:"labels,omitempty"`
	// Taints of the node; default: virtual-kubelet.io/provider=vic:NoSchedule. An empty list is none.
	// +optional
	Taints *[]corev1.Taint `json:"taints,omitempty"`
	// DeletionPolicy says what becomes of pods when this object is deleted: Refuse waits until there are none, Drain evicts
	// them, and Orphan removes the node at once and leaves their VMs in vCenter. The node is cordoned in any case. Pods of
	// DaemonSets are not waited for.
	// +kubebuilder:default=Refuse
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// DeletionPolicy says what becomes of the pods of a VCH that is deleted.
//
// +kubebuilder:validation:Enum=Refuse;Drain;Orphan
type DeletionPolicy string

// The deletion policies.
const (
	DeletionRefuse DeletionPolicy = "Refuse"
	DeletionDrain  DeletionPolicy = "Drain"
	DeletionOrphan DeletionPolicy = "Orphan"
)

// VSphere is a place on vCenter or on one ESXi host.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.thumbprint) && size(self.thumbprint) > 0 && has(self.insecure) && self.insecure)",message="of thumbprint and insecure only one can be set"
type VSphere struct {
	// Address of vCenter or ESXi: HOST, HOST:PORT or a URL.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="address can't change: pod VMs and images are there"
	Address string `json:"address"`
	// CredentialsSecret is the name of a Secret in vic's own namespace, with the keys username and password, and ca.crt where
	// vCenter's authority is not one that the system trusts. It is read again before each login.
	// +kubebuilder:validation:MinLength=1
	CredentialsSecret string `json:"credentialsSecret"`
	// Thumbprint of vCenter's certificate, SHA-1 or SHA-256, instead of ca.crt.
	// +optional
	Thumbprint string `json:"thumbprint,omitempty"`
	// Insecure trusts whoever answers.
	// +optional
	Insecure bool `json:"insecure,omitempty"`

	// Datacenter, Pool, Folder and Datastore are inventory paths; they may be empty where there is one of a kind.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="datacenter can't change: pod VMs and images are there"
	Datacenter string `json:"datacenter,omitempty"`
	// +optional
	Pool string `json:"pool,omitempty"`
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="folder can't change: pod VMs and images are there"
	Folder string `json:"folder,omitempty"`
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="datastore can't change: pod VMs and images are there"
	Datastore string `json:"datastore,omitempty"`
	// Directory of the VCH on the datastore; default: vic/ and its name.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="directory can't change: pod VMs and images are there"
	Directory string `json:"directory,omitempty"`
	// BootISO is a datastore path, such as "[store] vic/boot.iso".
	// +kubebuilder:validation:MinLength=1
	BootISO string `json:"bootISO"`

	// StoragePolicy is the name of the policy that VMs and disks are given.
	// +optional
	StoragePolicy string `json:"storagePolicy,omitempty"`
	// MemoryReservation reserves all memory of VMs, so that none of it is ever in a swap file.
	// +optional
	MemoryReservation bool `json:"memoryReservation,omitempty"`
	// AntiAffinity keeps pods with a topology spread over kubernetes.io/hostname on different hosts, as far as DRS can.
	// +optional
	AntiAffinity bool `json:"antiAffinity,omitempty"`
	// MHzPerCore of the hosts' processors, where neither hosts nor cluster can be read.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MHzPerCore int64 `json:"mhzPerCore,omitempty"`
	// Tags are attached to VMs where it is set.
	// +optional
	Tags *Tags `json:"tags,omitempty"`

	// Network is the inventory path of the port group or NSX segment that pods are in.
	// +kubebuilder:validation:MinLength=1
	Network string `json:"network"`
	// Gateway of the pods, in the subnet.
	// +optional
	Gateway string `json:"gateway,omitempty"`
	// FirstAddress and LastAddress are the range of pods' addresses, with nothing else in it; default: the whole subnet but
	// gateway and advertised addresses.
	// +optional
	FirstAddress string `json:"firstAddress,omitempty"`
	// +optional
	LastAddress string `json:"lastAddress,omitempty"`
	// MTU of the pods' interfaces; 0 is the network's.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	MTU int32 `json:"mtu,omitempty"`

	// AdvertiseAddresses are what guests dial, HOST:PORT each: they lead to vic's guestListen, can be reached from the port
	// group, and stay the same for as long as there are pod VMs.
	// +kubebuilder:validation:MinItems=1
	AdvertiseAddresses []string `json:"advertiseAddresses"`
}

// Tags are vCenter's, one of a pod's namespace and one of the VCH.
type Tags struct {
	// Category that they are in; it is made where it is missing.
	// +kubebuilder:validation:MinLength=1
	Category string `json:"category"`
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
