package portlayer

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Identity says whose VM it is. A hypervisor keeps it where the guest can't change it. It holds no secret.
type Identity struct {
	// UID is the pod's UID and the VM's only key.
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// NodeName is the virtual node that owns the VM; VMs of other nodes are left alone.
	NodeName string `json:"nodeName"`
	// Generation is that of the pod's spec.
	Generation int64 `json:"generation"`
}

// Size is what a VM gets.
type Size struct {
	VCPUs int `json:"vcpus"`
	// CPUMilli is what the pod is entitled to, in thousandths of a processor; the hypervisor weighs VMs by it.
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

// IsOf tells whether the disk has the content of that digest (DiskSource.Digest).
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
	Scope   string       `json:"scope"`
	MAC     string       `json:"mac"`
	Address netip.Prefix `json:"address"`
	Gateway netip.Addr   `json:"gateway"`
	MTU     int          `json:"mtu,omitempty"`
}

// VMSpec is all that a hypervisor must know of a VM. Environment, files and commands are not in it.
type VMSpec struct {
	Identity Identity `json:"identity"`
	Size     Size     `json:"size"`
	Disks    []Disk   `json:"disks"`
	NICs     []NIC    `json:"nics"`
	// Tasks are the names of the pod's containers.
	Tasks []string `json:"tasks"`
	// SpreadGroup is the same for VMs that should run on different machines, where the hypervisor has several and can tell
	// them apart; at most 32 hex digits, empty is none.
	SpreadGroup string `json:"spreadGroup,omitempty"`
}

// Clone returns a copy that shares nothing.
func (s VMSpec) Clone() VMSpec {
	s.Disks, s.NICs, s.Tasks = slices.Clone(s.Disks), slices.Clone(s.NICs), slices.Clone(s.Tasks)
	return s
}

// State is that of a VM as a hypervisor sees it.
type State string

// The states of a VM.
const (
	StateCreated State = "created" // committed and never powered on
	StateRunning State = "running"
	StateStopped State = "stopped" // was powered on once
	StateRemoved State = "removed"
)

// next holds every move that a caller may command; an observed state needs no permission.
var next = map[State][]State{
	StateCreated: {StateRunning, StateRemoved},
	StateRunning: {StateStopped},
	StateStopped: {StateRunning, StateRemoved},
}

// CanBecome tells whether a caller may command the move from s to t.
func (s State) CanBecome(t State) bool { return slices.Contains(next[s], t) }

// VM is a pod VM as its hypervisor shows it.
type VM struct {
	Spec  VMSpec
	State State
	// Version changes with every change of Spec; handles are pinned to it.
	Version uint64
	// PID is the process of a running VM, where it is one of this machine; 0 elsewhere.
	PID       int
	CreatedAt time.Time
	// StartedAt is when the VM was last powered on.
	StartedAt time.Time
	// Targets are the SCSI targets of disks by serial number, where the hypervisor gives disks no serial numbers of ours.
	Targets map[string]int32
	// StopReason says why a stopped VM stopped, as far as the hypervisor knows; empty after a commanded power-off.
	StopReason string
}

// Volumes are the disks of the spec that are in no other VM and outlive this one.
func (s VMSpec) Volumes() []Disk {
	return slices.DeleteFunc(slices.Clone(s.Disks), func(d Disk) bool { return d.Kind != DiskVolume })
}

// DiskName is under what name the guest finds a disk: its serial number, with "@" and its target behind if it has one.
func (v VM) DiskName(serial string) string {
	if target, ok := v.Targets[serial]; ok {
		return fmt.Sprintf("%s@%d", serial, target)
	}
	return serial
}

// UID is the pod's UID.
func (v VM) UID() string { return v.Spec.Identity.UID }

// Capacity is what a VCH offers to pods in all, overheads of VMs not subtracted.
type Capacity struct {
	CPUMilli     int64
	MemoryBytes  int64
	StorageBytes int64
	Pods         int64
	// FreeMemoryBytes and FreeStorageBytes are what is left now, pod VMs and everything else counted.
	FreeMemoryBytes  int64
	FreeStorageBytes int64
	// UsedMemoryBytes is what pod VMs hold now, UsedCPU the processor time that they have used since some moment; it
	// never goes back while the hypervisor is open.
	UsedMemoryBytes int64
	UsedCPU         time.Duration
	Conditions      []Condition
}

// Condition is something that a VCH says about its health.
type Condition struct {
	// Type is Ready, MemoryPressure, DiskPressure, PIDPressure or NetworkUnavailable. Ready is False, with what is broken
	// as its Message, while no pod VM can be made or started.
	Type    string
	True    bool
	Reason  string
	Message string
}
