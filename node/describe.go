package node

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/internal/host"
	"github.com/virtual-kubelet/vic/internal/version"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/provider"
)

// podNetworkLabel says how pods of the node are reached, for selectors: by addresses of their own, or not at all.
const podNetworkLabel = config.OwnLabels + "pod-network"

func (n *Node) description() provider.Description {
	self := host.Read("/")
	labels := n.config.VCH.labels()
	labels[podNetworkLabel] = n.host.Network
	return provider.Description{
		InternalIP: n.address.String(), InstanceType: n.host.InstanceType, Labels: labels, Taints: *n.config.VCH.Taints,
		Reserved:       n.config.VCH.Reserved,
		KubeletVersion: version.Kubernetes + "-vic-" + version.Version, OSImage: cmp.Or(self.OS, "Linux") + ", pod VMs on " + n.host.System,
		RuntimeVersion: "vic://" + version.Version, KernelVersion: kernelRelease(n.config.Settings),
		MachineID: self.MachineID, SystemUUID: self.SystemUUID, BootID: self.BootID,
	}
}

// kernelRelease is what the guest image's manifest says of its kernel; empty where there is no manifest.
func kernelRelease(settings *config.Node) string {
	dir, err := GuestImageDir(settings)
	if err != nil {
		return ""
	}
	var manifest struct {
		KernelRelease string `json:"kernelRelease"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil || json.Unmarshal(text, &manifest) != nil {
		return ""
	}
	return manifest.KernelRelease
}

// Capacity is what the node has.
func (n *Node) Capacity(ctx context.Context) (portlayer.Capacity, error) {
	return n.pods.Capacity(ctx)
}

// Offers returns what the node has, and what pod VMs have of it: cpu and memory of their sizes, and their number.
func (n *Node) Offers(ctx context.Context) (capacity, inUse corev1.ResourceList, err error) {
	c, err := n.pods.Capacity(ctx)
	if err != nil {
		return nil, nil, err
	}
	vms, err := n.pods.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	var milli, bytes int64
	for _, vm := range vms {
		milli += vm.Spec.Size.CPUMilli
		bytes += vm.Spec.Size.MemoryBytes
	}
	return provider.CapacityOf(c), corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewMilliQuantity(milli, resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(bytes, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(int64(len(vms)), resource.DecimalSI),
	}, nil
}

func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "vic_build_info", Help: "Always 1; the labels say what runs.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(version.Version, runtime.Version()).Set(1)
	r.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}
