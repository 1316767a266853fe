package operations

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// NodeFacts are what pods may ask of their node.
type NodeFacts struct {
	HostIP      string
	Allocatable corev1.ResourceList
	// Pressures are those conditions of the node that keep new pods away.
	Pressures []corev1.NodeConditionType
	// Object is the Node as the API server has it; nil while that is not known. The caller must not change it.
	Object *corev1.Node
}

// podIP is the first address that the VM has leased, the zero Addr where it has none.
func podIP(vm *podvm.VM) netip.Addr {
	for _, n := range vm.Spec.NICs {
		for _, a := range n.Addresses {
			return a.Addr()
		}
	}
	return netip.Addr{}
}

func addressOf(vm *podvm.VM) string {
	if ip := podIP(vm); ip.IsValid() {
		return ip.String()
	}
	return ""
}

func hasDisk(vm *podvm.VM, serial string) bool {
	return slices.ContainsFunc(vm.Spec.Disks, func(d portlayer.Disk) bool { return d.Serial == serial })
}
