package main

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
	"github.com/virtual-kubelet/vic/controllers"
)

// vchOf is what the file of vic node would say of a VirtualContainerHost.
func vchOf(v *v1alpha1.VirtualContainerHost, credentials controllers.Credentials) (*vchFile, error) {
	v = v.DeepCopy() // the node keeps what is made of it
	n := &vchFile{
		NodeName: v.Node(), Port: int(v.Spec.Port), Subnet: v.Spec.Subnet, Labels: v.Spec.Labels, Taints: v.Spec.Taints,
		owner:   string(v.UID),
		VSphere: vsphereOf(v, credentials), Reserved: map[string]resource.Quantity{},
	}
	for name, q := range v.Spec.Reserved {
		n.Reserved[string(name)] = q
	}
	if err := n.limit(v.Spec.Limits); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	return n, nil
}

// limit sets what the node offers at most.
func (n *vchFile) limit(limits corev1.ResourceList) error {
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		q := limits[name]
		if q.Sign() <= 0 {
			return fmt.Errorf("%s %s is not above zero", name, q.String())
		}
		switch name {
		case corev1.ResourceCPU:
			if q.MilliValue()%1000 != 0 {
				return fmt.Errorf("cpu %s is no whole number", q.String())
			}
			n.CPU = q.Value()
		case corev1.ResourceMemory:
			n.Memory = q.String()
		case corev1.ResourcePods:
			n.Pods = q.Value()
		default:
			return fmt.Errorf("%s is none of cpu, memory, pods", name)
		}
	}
	return nil
}

func vsphereOf(v *v1alpha1.VirtualContainerHost, credentials controllers.Credentials) *vsphereFile {
	s := &v.Spec.VSphere
	f := &vsphereFile{
		VCH: v.Name, Address: s.Address, User: credentials.Username, password: credentials.Password, ca: credentials.CA,
		Thumbprint: s.Thumbprint, Insecure: s.Insecure,
		Datacenter: s.Datacenter, Pool: s.Pool, Folder: s.Folder, Datastore: s.Datastore, Directory: s.Directory, BootISO: s.BootISO,
		Network: s.Network, Gateway: s.Gateway, FirstAddress: s.FirstAddress, LastAddress: s.LastAddress, MTU: int(s.MTU),
		AdvertiseAddresses: s.AdvertiseAddresses,
		StoragePolicy:      s.StoragePolicy, MemoryReservation: s.MemoryReservation, AntiAffinity: s.AntiAffinity,
		MHzPerCore: s.MHzPerCore,
	}
	if s.Tags != nil {
		f.Tags = &tagsFile{Category: s.Tags.Category}
	}
	return f
}
