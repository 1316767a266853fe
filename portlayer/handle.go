package portlayer

import (
	"fmt"
	"slices"
	"sync"
)

// Handle is a draft of changes to one pod VM, pinned to the version it was opened at. It is not safe for concurrent
// use. Nothing but an address reservation happens before PodHost.Commit.
type Handle struct {
	spec    VMSpec
	version uint64 // 0: the VM is not there yet
	commits uint64 // how often the engine had committed to the VM when the handle was opened
	sources []imageSource
	join    func(h *Handle, scope string) error

	once    sync.Once // guards release
	release func()    // gives back reserved addresses; nil where there are none
	spent   bool      // Commit was called
}

// imageSource is an image disk whose content the hypervisor may not have yet.
type imageSource struct {
	serial string
	source DiskSource
}

// UID is the pod's UID.
func (h *Handle) UID() string { return h.spec.Identity.UID }

// Spec returns a copy of the draft.
func (h *Handle) Spec() VMSpec { return h.spec.Clone() }

// SetIdentity replaces everything in the identity but the UID.
func (h *Handle) SetIdentity(id Identity) {
	id.UID = h.spec.Identity.UID
	h.spec.Identity = id
}

// SetSize sets the VM's size; only for a VM that is off.
func (h *Handle) SetSize(s Size) { h.spec.Size = s }

// SetTasks names the pod's containers.
func (h *Handle) SetTasks(names []string) { h.spec.Tasks = slices.Clone(names) }

// SetSpreadGroup says with which other VMs it should not share a machine (VMSpec.SpreadGroup).
func (h *Handle) SetSpreadGroup(group string) { h.spec.SpreadGroup = group }

// AddScratch adds a writable disk of the VM's own. A disk of that serial is left as it is.
func (h *Handle) AddScratch(serial string, sizeBytes int64) {
	h.add(Disk{Kind: DiskScratch, Serial: serial, SizeBytes: sizeBytes})
}

// AddImage adds a read-only disk with src's content. A disk of that serial is left as it is.
func (h *Handle) AddImage(serial string, src DiskSource) {
	if h.add(Disk{Kind: DiskImage, Serial: serial}) {
		h.sources = append(h.sources, imageSource{serial, src})
	}
}

// AddVolume adds a disk that is there already, by the hypervisor's name for it. A disk of that serial is left as it is.
// Only a VM that is there takes volumes; Commit returns ErrVolumeInUse, ErrVolumeNotFound or ErrUnsupported.
func (h *Handle) AddVolume(serial, volume string) {
	h.add(Disk{Kind: DiskVolume, Serial: serial, Volume: volume})
}

// HasDisk tells whether the draft has a disk of that serial.
func (h *Handle) HasDisk(serial string) bool {
	return slices.ContainsFunc(h.spec.Disks, func(d Disk) bool { return d.Serial == serial })
}

// RemoveDisk takes a disk out of the draft; a missing one is no error.
func (h *Handle) RemoveDisk(serial string) {
	h.spec.Disks = slices.DeleteFunc(h.spec.Disks, func(d Disk) bool { return d.Serial == serial })
	h.sources = slices.DeleteFunc(h.sources, func(s imageSource) bool { return s.serial == serial })
}

// JoinScope gives the VM an interface in scope, with an address that is reserved at once and held until the handle is
// committed or discarded. A VM that has one in scope already keeps it. ErrNotFound, ErrNoAddress.
func (h *Handle) JoinScope(scope string) error {
	if slices.ContainsFunc(h.spec.NICs, func(n NIC) bool { return n.Scope == scope }) {
		return nil
	}
	if h.join == nil {
		return fmt.Errorf("join scope %q: %w", scope, ErrUnsupported)
	}
	return h.join(h, scope)
}

func (h *Handle) add(d Disk) bool {
	if h.HasDisk(d.Serial) {
		return false
	}
	h.spec.Disks = append(h.spec.Disks, d)
	return true
}
