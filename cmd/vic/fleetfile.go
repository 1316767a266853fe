package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"

	"k8s.io/apimachinery/pkg/api/validate/content"

	"github.com/virtual-kubelet/vic/api/v1alpha1"
)

// fleetFile says which nodes a process serves that may serve several.
type fleetFile struct {
	VCHs []vchFile `json:"vchs"`
	// DeletionPolicy says what becomes of the pods of a VCH that is taken out of the list.
	DeletionPolicy v1alpha1.DeletionPolicy `json:"deletionPolicy"`
	// Controller has the list come from the cluster.
	Controller     *controllerFile     `json:"controller"`
	LeaderElection *leaderElectionFile `json:"leaderElection"`
	// GuestListen is where the guests of all VCHs on vSphere dial in that don't say another place.
	GuestListen string `json:"guestListen"`
	// HealthListen is where /healthz and /readyz are served, without TLS; empty is nowhere.
	HealthListen string `json:"healthListen"`
}

// controllerFile says how to serve the cluster's VirtualContainerHosts.
type controllerFile struct {
	// Namespace has the secrets with credentials, and that of the authority which guests trust.
	Namespace string `json:"namespace"`
}

// leaderElectionFile has one of several processes serve, and another one when it is gone.
type leaderElectionFile struct {
	// Namespace and Name are those of the Lease.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// isFleet tells whether there may be several nodes.
func (f *nodeFile) isFleet() bool { return f.Controller != nil || len(f.VCHs) > 0 }

// vchs are the VCHs that the file has.
func (f *nodeFile) vchs() []*vchFile {
	if !f.isFleet() {
		return []*vchFile{&f.vchFile}
	}
	var all []*vchFile
	for i := range f.VCHs {
		all = append(all, &f.VCHs[i])
	}
	return all
}

func (f *nodeFile) checkFleet() error {
	switch {
	case f.Controller != nil && len(f.VCHs) > 0:
		return errors.New("of vchs and controller only one can be set")
	case f.NodeName != "" || f.VSphere != nil:
		return errors.New("nodeName and vsphere belong to one node; of them, vchs and controller only one can be set")
	case f.Controller != nil && f.GuestListen == "":
		return errors.New("guestListen is missing: guests of the cluster's VCHs dial in there")
	}
	for _, n := range []struct{ key, value string }{{"guestListen", f.GuestListen}, {"healthListen", f.HealthListen}} {
		if _, _, err := net.SplitHostPort(n.value); n.value != "" && err != nil {
			return fmt.Errorf("%s: %w", n.key, err)
		}
	}
	if f.Controller != nil {
		if err := checkLabel("controller.namespace", f.Controller.Namespace); err != nil {
			return err
		}
	}
	if l := f.LeaderElection; l != nil {
		if err := errors.Join(checkLabel("leaderElection.namespace", l.Namespace), checkLabel("leaderElection.name", l.Name)); err != nil {
			return err
		}
	}
	policies := []v1alpha1.DeletionPolicy{"", v1alpha1.DeletionRefuse, v1alpha1.DeletionDrain, v1alpha1.DeletionOrphan}
	if !slices.Contains(policies, f.DeletionPolicy) {
		return fmt.Errorf("deletionPolicy %q is none of Refuse, Drain, Orphan", f.DeletionPolicy)
	}
	return f.checkVCHs()
}

// claims are what no other VCH may have too.
func (n *vchFile) claims() []string {
	if n.VSphere == nil {
		return nil
	}
	return n.VSphere.claims(n.NodeName)
}

// place is what can't change while there are pods, and the key of each.
func (n *vchFile) place() map[string]string {
	place := map[string]string{"subnet": n.Subnet}
	if v := n.VSphere; v != nil {
		maps.Copy(place, map[string]string{
			"vsphere.vch": v.VCH, "vsphere.address": v.Address, "vsphere.datacenter": v.Datacenter, "vsphere.folder": v.Folder,
			"vsphere.datastore": v.Datastore, "vsphere.directory": v.Directory,
		})
	}
	return place
}

// moved returns an error where a VCH would be another one.
func (n *vchFile) moved(from *vchFile) error {
	if (n.VSphere == nil) != (from.VSphere == nil) {
		return errors.New("vsphere can't come or go: pods are there")
	}
	was, is := from.place(), n.place()
	for _, key := range slices.Sorted(maps.Keys(is)) {
		if was[key] != is[key] {
			return fmt.Errorf("%s can't change from %q to %q: pods are there", key, was[key], is[key])
		}
	}
	return nil
}

func checkLabel(key, value string) error {
	if value == "" {
		return fmt.Errorf("%s is missing", key)
	}
	if errs := content.IsDNS1123Label(value); len(errs) > 0 {
		return fmt.Errorf("%s %q: %s", key, value, errs[0])
	}
	return nil
}

// checkVCHs checks each VCH of the list, and that no two of them want the same.
func (f *nodeFile) checkVCHs() error {
	names, ports, claims := map[string]bool{}, map[int]string{}, map[string]string{}
	for i := range f.VCHs {
		n := &f.VCHs[i]
		if err := f.checkVCH(n); err != nil {
			return fmt.Errorf("vchs[%d] %s: %w", i, n.NodeName, err)
		}
		if names[n.NodeName] {
			return fmt.Errorf("vchs[%d]: nodeName %s is there twice", i, n.NodeName)
		}
		names[n.NodeName] = true
		for _, claim := range n.claims() {
			if other, taken := claims[claim]; taken {
				return fmt.Errorf("vchs[%d] %s: %s is that of %s", i, n.NodeName, claim, other)
			}
			claims[claim] = n.NodeName
		}
		if other, taken := ports[n.Port]; taken && n.Port != 0 {
			return fmt.Errorf("vchs[%d] %s: port %d is that of %s", i, n.NodeName, n.Port, other)
		}
		ports[n.Port] = n.NodeName
	}
	return nil
}
