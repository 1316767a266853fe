package config

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KubeletPort is where the only node of a process serves the kubelet API by default.
const KubeletPort = 10250

// Node says what holds for a process, and which VCHs it serves as nodes.
type Node struct {
	// Kubeconfig has the credential for the API server. The default in a pod is that of its service account.
	Kubeconfig string `json:"kubeconfig,omitempty"`
	// Dir keeps the state. One process uses it at a time.
	Dir string `json:"dir,omitempty"`
	// HealthListen is where /healthz and /readyz are served without TLS, HOST:PORT. Empty means nowhere.
	HealthListen string `json:"healthListen,omitempty"`
	// TracingEndpoint is the collector of OpenTelemetry traces by OTLP over gRPC, HOST:PORT or URL. The default is
	// OTEL_EXPORTER_OTLP_ENDPOINT, else none.
	TracingEndpoint string `json:"tracingEndpoint,omitempty"`

	// GuestImage is the directory of vmlinuz and initrd.zst, which pod VMs on QEMU boot. The default is guest/ beside the program.
	GuestImage string `json:"guestImage,omitempty"`
	// Accelerator of QEMU: kvm, tcg, or auto, which boots something to find out.
	Accelerator string `json:"accel,omitempty"`
	// AllowContainer serves QEMU also in a container. The pod VMs end with the container.
	AllowContainer bool `json:"allowContainer,omitempty"`

	// ClusterDNS are the addresses of the cluster's name servers, for pods with dnsPolicy ClusterFirst.
	ClusterDNS []string `json:"clusterDNS,omitempty"`
	// ClusterDomain is the domain of the cluster's services.
	ClusterDomain string `json:"clusterDomain,omitempty"`

	// EvictionPressureTransitionPeriod is how long the node reports a pressure after it last saw it.
	EvictionPressureTransitionPeriod metav1.Duration `json:"evictionPressureTransitionPeriod,omitempty"`
	// ContainerLogMaxSize is the size at which a container's log gets another file, at least 64Ki.
	ContainerLogMaxSize resource.Quantity `json:"containerLogMaxSize,omitempty"`
	// ContainerLogMaxFiles is the number of log files to keep for each run of a container, at least 2.
	ContainerLogMaxFiles int32 `json:"containerLogMaxFiles,omitempty"`

	// InsecureRegistries are HOST or HOST:PORT of registries that vic may reach over plain HTTP, and with any certificate.
	InsecureRegistries []string `json:"insecureRegistries,omitempty"`
	// RegistryMirrors are URLs to try before a registry, by the registry's host.
	RegistryMirrors map[string]string `json:"registryMirrors,omitempty"`
	// RegistryHostsDir has a folder for each registry that needs certificates or mirrors, as containerd's certs.d.
	RegistryHostsDir string `json:"registryHostsDir,omitempty"`
	// ImageCredentialProviderConfig is the file or directory, as a kubelet's, that says which program has credentials for which
	// images.
	ImageCredentialProviderConfig string `json:"imageCredentialProviderConfig,omitempty"`
	// ImageCredentialProviderBinDir is the directory of these programs.
	ImageCredentialProviderBinDir string `json:"imageCredentialProviderBinDir,omitempty"`
	// ImageLimits are what no image may exceed, such as bytes: 16Gi (docs/images.md has names and defaults).
	ImageLimits map[string]resource.Quantity `json:"imageLimits,omitempty"`
	// ImageGCHighThresholdPercent of the images' disk in use makes vic remove images that no pod has. 100 means never.
	ImageGCHighThresholdPercent int32 `json:"imageGCHighThresholdPercent,omitempty"`
	// ImageGCLowThresholdPercent of the images' disk in use ends that removal.
	ImageGCLowThresholdPercent int32 `json:"imageGCLowThresholdPercent,omitempty"`
	// ImageMinimumGCAge is how long vic keeps an image after it came.
	ImageMinimumGCAge metav1.Duration `json:"imageMinimumGCAge,omitempty"`
	// ImageGCPeriod is the time between two looks at the images' disk, at least 1s.
	ImageGCPeriod metav1.Duration `json:"imageGCPeriod,omitempty"`

	// VCH is the only node of the process. Its state is in dir itself.
	VCH *Entry `json:"vch,omitempty"`
	// VCHs are several nodes. The state of each is in dir/vchs/NODENAME. The file is read again when it changes.
	VCHs []Entry `json:"vchs,omitempty"`
	// Controller serves the VirtualContainerHosts of the cluster.
	Controller bool `json:"controller,omitempty"`
	// Namespace has the objects of vic itself: the Secrets that credentialsSecret names, the authority that guests trust, the lease
	// of the leader.
	Namespace string `json:"namespace,omitempty"`
	// LeaderElection lets one of several processes serve, and another one when that is gone. It needs vchs or controller.
	LeaderElection *LeaderElection `json:"leaderElection,omitempty"`
	// GuestListen is where the guests of VCHs on vSphere dial in, HOST:PORT, unless a VCH has its own.
	GuestListen string `json:"guestListen,omitempty"`
	// DeletionPolicy is for VCHs of the file that have none. It says what happens to the pods of an entry that is taken out: Refuse
	// waits until there are none, Drain evicts them, Orphan leaves their VMs running.
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// LeaderElection says how several processes choose the one that serves.
type LeaderElection struct {
	// Name of the Lease in the namespace of vic.
	Name string `json:"name,omitempty"`
}

// DefaultNode returns the settings of a process that are not said otherwise. Those of images and logs are the kubelet's.
func DefaultNode() *Node {
	return &Node{
		Dir: "/var/lib/vic", Accelerator: AccelAuto, ClusterDomain: "cluster.local",
		EvictionPressureTransitionPeriod: metav1.Duration{Duration: 5 * time.Minute},
		ContainerLogMaxSize:              resource.MustParse("10Mi"), ContainerLogMaxFiles: 5,
		ImageGCHighThresholdPercent: 85, ImageGCLowThresholdPercent: 80,
		ImageMinimumGCAge: metav1.Duration{Duration: 2 * time.Minute}, ImageGCPeriod: metav1.Duration{Duration: 5 * time.Minute},
		DeletionPolicy: DeletionRefuse,
	}
}

// SetDefaults sets what the VCHs of n do not say.
func (n *Node) SetDefaults() {
	if n.VCH != nil {
		if n.VCH.Port == 0 {
			n.VCH.Port = KubeletPort
		}
		n.VCH.SetDefaults()
	}
	for i := range n.VCHs {
		n.VCHs[i].SetDefaults()
	}
}

// Several says that the process may serve several nodes, each opened and retried by itself.
func (n *Node) Several() bool { return n.Controller || len(n.VCHs) > 0 }

// Entries are the VCHs that n has: the only one, or those of the list.
func (n *Node) Entries() []*Entry {
	if n.VCH != nil {
		return []*Entry{n.VCH}
	}
	all := make([]*Entry, 0, len(n.VCHs))
	for i := range n.VCHs {
		all = append(all, &n.VCHs[i])
	}
	return all
}
