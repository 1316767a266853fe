package portlayer

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// Owner says what a VM is for. A hypervisor keeps it where the guest can't change it. It holds no secret.
type Owner struct {
	// Kind is what sort of thing owns the VM, such as Pod. Only the layer above that made the kind touches the VM.
	Kind string `json:"kind"`
	// Cluster is the UID of the cluster that the owner is of; empty where it is of none.
	Cluster   string `json:"cluster,omitempty"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	// UID distinguishes owners of one name.
	UID string `json:"uid"`
	// Node is the node that runs the VM; VMs of other nodes, or of a node of that name in another cluster, are left alone.
	Node string `json:"node,omitempty"`
	// Generation is that of the owner's spec which the VM was made of.
	Generation int64 `json:"generation,omitempty"`
}

// IsOf is true when the owner is of that node of that cluster. A VM of another cluster is another's, whatever its node is
// called: nobody here changes or removes it.
func (o Owner) IsOf(cluster, node string) bool { return o.Cluster == cluster && o.Node == node }

// BootKind says what a VM boots from.
type BootKind string

// The kinds of boot.
const (
	// BootImage is the guest image of the VCH; the zero value is the same.
	BootImage BootKind = "image"
	// BootDisk is one of the VM's own disks, which boots by itself.
	BootDisk BootKind = "disk"
	// BootTemplate is a copy of another VM.
	BootTemplate BootKind = "template"
)

// Boot says what a VM boots. The zero value is the guest image of the VCH.
type Boot struct {
	Kind BootKind `json:"kind,omitempty"`
	// Disk is the serial number of the disk that a BootDisk boots.
	Disk string `json:"disk,omitempty"`
	// Template is the ID of the VM that a BootTemplate is a copy of.
	Template string `json:"template,omitempty"`
}

// HasGuest is true when the VM boots the VCH's guest image, and so has a guest of ours.
func (b Boot) HasGuest() bool { return b.Kind == "" || b.Kind == BootImage }

// CheckBoot refuses a boot that makes no sense: a disk that the VM does not have, or a kind that nobody knows. For a
// template it returns ErrUnsupported: no hypervisor makes copies yet.
func (s Spec) CheckBoot() error {
	switch s.Boot.Kind {
	case "", BootImage:
		return nil
	case BootDisk:
		if slices.ContainsFunc(s.Disks, func(d Disk) bool { return d.Serial == s.Boot.Disk }) {
			return nil
		}
		return fmt.Errorf("boot disk %q is not one of the VM's disks", s.Boot.Disk)
	case BootTemplate:
		return fmt.Errorf("boot as a copy of VM %q: %w", s.Boot.Template, ErrUnsupported)
	}
	return fmt.Errorf("boot is of unknown kind %q", s.Boot.Kind)
}

// Size is what a VM gets.
type Size struct {
	VCPUs int `json:"vcpus"`
	// CPUMilli is what the owner is entitled to, in thousandths of a processor; the hypervisor weighs VMs by it.
	CPUMilli int64 `json:"cpuMilli"`
	// MemoryBytes is the guest's memory, a multiple of 4 MiB, the overhead for kernel and guest included.
	MemoryBytes int64 `json:"memoryBytes"`
}

// DiskKind says what a disk is for.
type DiskKind string

// The kinds of disk.
const (
	// DiskImage is read-only, shared by VMs, and made from a DiskSource.
	DiskImage DiskKind = "image"
	// DiskScratch is the VM's own, created empty with it and destroyed with it.
	DiskScratch DiskKind = "scratch"
	// DiskVolume has a life of its own: a VM has it for a while, and it is neither created nor destroyed with one. It is in
	// one VM at a time.
	DiskVolume DiskKind = "volume"
)

// Disk is one disk of a VM. Guests find it by its serial number.
type Disk struct {
	Kind DiskKind `json:"kind"`
	// Serial is unique in the VM, at most 36 letters, digits, "-" and "_".
	Serial string `json:"serial"`
	// Ref names the image's disk on the hypervisor (EnsureDisk); empty for a scratch disk.
	Ref DiskRef `json:"ref,omitempty"`
	// SizeBytes is a scratch disk's size.
	SizeBytes int64 `json:"sizeBytes,omitempty"`
	// Volume is the hypervisor's name for a DiskVolume; empty for others.
	Volume string `json:"volume,omitempty"`
}

// DiskRef is a hypervisor's name for a disk it holds. It has the hex digits of the source's digest in it.
type DiskRef string

// IsOf reports whether the disk has the content of that digest (DiskSource.Digest).
func (r DiskRef) IsOf(digest string) bool {
	return strings.Contains(string(r), strings.TrimPrefix(digest, "sha256:"))
}

// DiskSource is the content of a read-only disk, named by its digest. It is never a path: the hypervisor may be elsewhere.
type DiskSource struct {
	// Digest is "sha256:" and 64 hex digits, of whatever makes the content unique.
	Digest    string
	SizeBytes int64
	// Open returns the content; the caller closes it.
	Open func() (io.ReadSeekCloser, error)
}

// NIC is one network interface of a VM.
type NIC struct {
	Scope string `json:"scope"`
	MAC   string `json:"mac"`
	// Addresses are those that the guest uses, each with the length of its network's prefix.
	Addresses []netip.Prefix `json:"addresses"`
	// Gateways are the routers of the scope, at most one for each family of addresses.
	Gateways []netip.Addr `json:"gateways,omitempty"`
	MTU      int          `json:"mtu,omitempty"`
}

// Has is true when the interface has that address.
func (n NIC) Has(addr netip.Addr) bool {
	return slices.ContainsFunc(n.Addresses, func(p netip.Prefix) bool { return p.Addr() == addr })
}

// Equal is true when both interfaces are the same in everything.
func (n NIC) Equal(o NIC) bool {
	return n.Scope == o.Scope && n.MAC == o.MAC && n.MTU == o.MTU &&
		slices.Equal(n.Addresses, o.Addresses) && slices.Equal(n.Gateways, o.Gateways)
}

// IPv4 returns the interface's first IPv4 address and the gateway of that family; zero values where there are none.
func (n NIC) IPv4() (netip.Prefix, netip.Addr) {
	var address netip.Prefix
	for _, a := range n.Addresses {
		if a.Addr().Is4() {
			address = a
			break
		}
	}
	for _, gw := range n.Gateways {
		if gw.Is4() {
			return address, gw
		}
	}
	return address, netip.Addr{}
}

// Clone returns a copy that shares nothing.
func (n NIC) Clone() NIC {
	n.Addresses, n.Gateways = slices.Clone(n.Addresses), slices.Clone(n.Gateways)
	return n
}

// Spec is all that a hypervisor must know of a VM. Environment, files and commands are not in it.
type Spec struct {
	// ID names the VM on its VCH: at most 63 letters, digits, "-", "_" and ".". It is never given to another VM.
	ID    string `json:"id"`
	Owner Owner  `json:"owner"`
	Boot  Boot   `json:"boot,omitzero"`
	Size  Size   `json:"size"`
	Disks []Disk `json:"disks"`
	NICs  []NIC  `json:"nics"`
	// SpreadGroup is the same for VMs that should run on different hosts, where the hypervisor has several and can place
	// VMs; at most 32 hex digits, empty is none.
	SpreadGroup string `json:"spreadGroup,omitempty"`
	// Annotations are what the layer above keeps with the VM, by keys of its own. Hypervisors don't read them. No secrets.
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Clone returns a copy that shares nothing.
func (s Spec) Clone() Spec {
	s.Disks, s.NICs, s.Annotations = slices.Clone(s.Disks), slices.Clone(s.NICs), maps.Clone(s.Annotations)
	for i, n := range s.NICs {
		s.NICs[i] = n.Clone()
	}
	return s
}

// Volumes are the disks of the spec that are in no other VM and outlive this one.
func (s Spec) Volumes() []Disk {
	return slices.DeleteFunc(slices.Clone(s.Disks), func(d Disk) bool { return d.Kind != DiskVolume })
}
