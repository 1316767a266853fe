package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Claims are what no other VCH of a process may have too, each in words that name it. Defaults are set.
func (e *Entry) Claims() []string {
	claims := []string{"nodeName " + e.NodeName}
	if e.Port != 0 {
		claims = append(claims, fmt.Sprintf("port %d", e.Port))
	}
	if s := e.VSphere; s != nil {
		claims = append(claims, fmt.Sprintf("vsphere.directory %s of vsphere.datastore %q at %s", s.Directory, s.Datastore, s.Address))
	}
	return claims
}

// The hypervisors of a Place.
const (
	onQEMU    = "qemu"
	onVSphere = "vsphere"
)

// Place is what of a VCH can't change while there are pods: values by the paths of their fields, and the hypervisor by "".
//
// +kubebuilder:object:generate=false
type Place map[string]string

// Place returns where the pods of a VCH are.
func (v *VCH) Place() Place {
	place := Place{"": onQEMU, "nodeName": v.NodeName, "subnet": v.Subnet}
	if s := v.VSphere; s != nil {
		maps.Copy(place, Place{
			"": onVSphere, "vsphere.address": s.Address, "vsphere.datacenter": s.Datacenter, "vsphere.folder": s.Folder,
			"vsphere.datastore": s.Datastore, "vsphere.directory": s.Directory,
		})
	}
	return place
}

// CheckChange returns, as Errors, what of an entry can't be another than it was while there are pods. In the cluster the CRD
// says the same.
func (e *Entry) CheckChange(was Place) error {
	p := newProblems(e.path)
	is := e.Place()
	if is[""] != was[""] {
		p.add("", "the hypervisor can't change from %s to %s: pods are there", was[""], is[""])
		return p.all.err()
	}
	for _, field := range slices.Sorted(maps.Keys(is)) {
		if was[field] != is[field] {
			p.add(field, "it can't change from %q to %q: pods are there", was[field], is[field])
		}
	}
	return p.all.err()
}

// Policy is the deletion policy of e in a process with the settings n.
func (e *Entry) Policy(n *Node) DeletionPolicy {
	return cmp.Or(e.DeletionPolicy, n.DeletionPolicy, DeletionRefuse)
}
