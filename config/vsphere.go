package config

// VSphere is a place on vCenter or on one ESXi host.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.thumbprint) && size(self.thumbprint) > 0 && has(self.insecure) && self.insecure)",message="of thumbprint and insecure only one can be set"
// +kubebuilder:validation:XValidation:rule="!has(self.user) && !has(self.passwordFile) && !has(self.caFile)",message="user, passwordFile and caFile are for files: an object names a Secret in credentialsSecret"
// +kubebuilder:validation:XValidation:rule="!has(self.guestListen)",message="guestListen of a VCH is for files: guests of the cluster's VCHs dial in at the guestListen of their process"
type VSphere struct {
	// Address of vCenter or ESXi: HOST, HOST:PORT or a URL, without user and password.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="address can't change: pod VMs and images are there"
	Address string `json:"address,omitempty"`
	// CredentialsSecret is the name of a Secret in the namespace of vic, with the keys username and password, and with ca.crt where
	// the system does not trust vCenter's authority. It is read again before each login.
	// +required
	// +kubebuilder:validation:MinLength=1
	CredentialsSecret string `json:"credentialsSecret,omitempty"`
	// User at vCenter. Only in a file: an object has credentialsSecret.
	// +optional
	User string `json:"user,omitempty"`
	// PasswordFile has the user's password and is read again before each login. Only in a file.
	// +optional
	PasswordFile string `json:"passwordFile,omitempty"`
	// CAFile has the certificates to trust, in PEM. The default is the system's authorities. Only in a file.
	// +optional
	CAFile string `json:"caFile,omitempty"`
	// Thumbprint of vCenter's certificate, SHA-1 or SHA-256, in hex digits with colons. It takes the place of an authority.
	// +optional
	Thumbprint string `json:"thumbprint,omitempty"`
	// Insecure accepts any certificate at the address.
	// +optional
	Insecure bool `json:"insecure,omitempty"`

	// Datacenter is an inventory path. It may be empty where there is one datacenter.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="datacenter can't change: pod VMs and images are there"
	Datacenter string `json:"datacenter,omitempty"`
	// Pool is the inventory path of the resource pool. It may be empty where there is one.
	// +optional
	Pool string `json:"pool,omitempty"`
	// Folder is the inventory path of the VM folder. It may be empty where there is one.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="folder can't change: pod VMs and images are there"
	Folder string `json:"folder,omitempty"`
	// Datastore is the name or inventory path of the datastore. It may be empty where there is one.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="datastore can't change: pod VMs and images are there"
	Datastore string `json:"datastore,omitempty"`
	// Directory of the VCH on the datastore. The default is vic/ and the name of the VCH.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="directory can't change: pod VMs and images are there"
	Directory string `json:"directory,omitempty"`
	// BootISO is the datastore path of what VMs boot, such as "[store] vic/boot.iso".
	// +required
	// +kubebuilder:validation:MinLength=1
	BootISO string `json:"bootISO,omitempty"`

	// StoragePolicy is the name of the policy for VMs, disks and images. The default is the datastore's own.
	// +optional
	StoragePolicy string `json:"storagePolicy,omitempty"`
	// MemoryReservation reserves all memory of VMs, so that none of it is ever in a swap file.
	// +optional
	MemoryReservation bool `json:"memoryReservation,omitempty"`
	// AntiAffinity keeps pods with a topology spread over kubernetes.io/hostname on different hosts, as far as DRS can.
	// +optional
	AntiAffinity bool `json:"antiAffinity,omitempty"`
	// MHzPerCore is the speed of the hosts' processors, needed only where neither hosts nor cluster can be read.
	// +optional
	// +kubebuilder:validation:Minimum=0
	MHzPerCore int64 `json:"mhzPerCore,omitempty"`
	// Tags, if set, has vic attach tags to VMs.
	// +optional
	Tags *Tags `json:"tags,omitempty"`

	// Network is the port group or NSX segment of the pods: its name, its inventory path, or the segment's ID.
	// +required
	// +kubebuilder:validation:MinLength=1
	Network string `json:"network,omitempty"`
	// Gateway of the pods, an address in the subnet.
	// +optional
	Gateway string `json:"gateway,omitempty"`
	// FirstAddress begins the range of the pods' addresses, with nothing else in it. The default is the whole subnet but gateway
	// and advertised addresses.
	// +optional
	FirstAddress string `json:"firstAddress,omitempty"`
	// LastAddress ends that range.
	// +optional
	LastAddress string `json:"lastAddress,omitempty"`
	// MTU of the pods' interfaces. 0 means the network's.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	MTU int32 `json:"mtu,omitempty"`

	// GuestListen is where the guests of this VCH dial in, HOST:PORT. The default is guestListen of the process. Only in a file.
	// +optional
	GuestListen string `json:"guestListen,omitempty"`
	// AdvertiseAddresses are what guests dial, HOST:PORT each. They lead to guestListen, are reached from the port group, and stay
	// the same for as long as there are pod VMs.
	// +required
	// +kubebuilder:validation:MinItems=1
	AdvertiseAddresses []string `json:"advertiseAddresses,omitempty"`
}

// Tags are vCenter's, one of a pod's namespace and one of the VCH.
type Tags struct {
	// Category of the tags. vic makes it if it is missing.
	// +required
	// +kubebuilder:validation:MinLength=1
	Category string `json:"category,omitempty"`
}
