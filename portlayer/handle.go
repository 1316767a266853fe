package portlayer

import (
	"fmt"
	"maps"
	"slices"
)

// Handle is a draft of changes to one VM, pinned to the version it was opened at. It is not safe for concurrent use.
// Nothing but a reservation of addresses happens before it is committed. The zero value drafts a VM without an ID, for tests.
type Handle struct {
	spec    Spec
	version uint64
	sources map[string]DiskSource // of image disks whose content the hypervisor may not have, by serial number
	reserve Reserve

	commits  uint64   // how often the Layer had committed to the VM when the handle was opened
	releases []func() // give back what was reserved
	spent    bool
}

// Reserve takes an interface in a scope for the VM of that ID. release gives it back, and may be called twice.
type Reserve func(id, scope string) (nic NIC, release func(), err error)

// NewHandle drafts changes to a VM that is at version, or a VM that is not there yet, whose version is 0. A nil reserve
// says that there are no scopes.
func NewHandle(spec Spec, version uint64, reserve Reserve) *Handle {
	return &Handle{spec: spec.Clone(), version: version, reserve: reserve}
}

// ID names the VM.
func (h *Handle) ID() string { return h.spec.ID }

// Version is what the VM had when the handle was opened; 0 says that it was not there.
func (h *Handle) Version() uint64 { return h.version }

// Spec returns a copy of the draft.
func (h *Handle) Spec() Spec { return h.spec.Clone() }

// Sources are the contents of the image disks that were added, by serial number.
func (h *Handle) Sources() map[string]DiskSource { return maps.Clone(h.sources) }

// Spend takes the handle for a commit. A handle is good for one: the second call returns ErrStaleHandle.
func (h *Handle) Spend() error {
	if h.spent {
		return ErrStaleHandle
	}
	h.spent = true
	return nil
}

// Keep says that the VM has what the handle reserved.
func (h *Handle) Keep() { h.releases = nil }

// Release spends the handle and gives back what it reserved and did not keep.
func (h *Handle) Release() {
	h.spent = true
	for _, release := range h.releases {
		release()
	}
	h.releases = nil
}

// SetOwner says what the VM is for.
func (h *Handle) SetOwner(o Owner) { h.spec.Owner = o }

// SetBoot says what the VM boots; only for a VM that is not there yet.
func (h *Handle) SetBoot(b Boot) { h.spec.Boot = b }

// SetSize sets the VM's size; only for a VM that is off.
func (h *Handle) SetSize(s Size) { h.spec.Size = s }

// SetAnnotation keeps value with the VM (Spec.Annotations); an empty one takes the key away.
func (h *Handle) SetAnnotation(key, value string) {
	if value == "" {
		delete(h.spec.Annotations, key)
		return
	}
	if h.spec.Annotations == nil {
		h.spec.Annotations = map[string]string{}
	}
	h.spec.Annotations[key] = value
}

// SetSpreadGroup says with which other VMs it should not share a host (Spec.SpreadGroup).
func (h *Handle) SetSpreadGroup(group string) { h.spec.SpreadGroup = group }

// AddScratch adds a writable disk of the VM's own. A disk of that serial is left as it is.
func (h *Handle) AddScratch(serial string, sizeBytes int64) {
	h.add(Disk{Kind: DiskScratch, Serial: serial, SizeBytes: sizeBytes})
}

// AddImage adds a read-only disk with src's content. A disk of that serial is left as it is.
func (h *Handle) AddImage(serial string, src DiskSource) {
	if !h.add(Disk{Kind: DiskImage, Serial: serial}) {
		return
	}
	if h.sources == nil {
		h.sources = map[string]DiskSource{}
	}
	h.sources[serial] = src
}

// AddVolume adds a disk that is there already, by the hypervisor's name for it. A disk of that serial is left as it is.
// Only a VM that is there takes volumes; a commit returns ErrVolumeInUse, ErrVolumeNotFound or ErrUnsupported.
func (h *Handle) AddVolume(serial, volume string) {
	h.add(Disk{Kind: DiskVolume, Serial: serial, Volume: volume})
}

// HasDisk is true when the draft has a disk of that serial.
func (h *Handle) HasDisk(serial string) bool {
	return slices.ContainsFunc(h.spec.Disks, func(d Disk) bool { return d.Serial == serial })
}

// RemoveDisk takes a disk out of the draft; a missing one is not an error.
func (h *Handle) RemoveDisk(serial string) {
	h.spec.Disks = slices.DeleteFunc(h.spec.Disks, func(d Disk) bool { return d.Serial == serial })
	delete(h.sources, serial)
}

// JoinScope gives the VM an interface in scope, with addresses that are reserved at once and held until the handle is
// committed or released. A VM that has one in scope already keeps it. ErrNotFound, ErrNoAddress, ErrUnsupported.
func (h *Handle) JoinScope(scope string) error {
	if slices.ContainsFunc(h.spec.NICs, func(n NIC) bool { return n.Scope == scope }) {
		return nil
	}
	if h.reserve == nil {
		return fmt.Errorf("join scope %q: %w", scope, ErrUnsupported)
	}
	nic, release, err := h.reserve(h.spec.ID, scope)
	if err != nil {
		return err
	}
	h.spec.NICs = append(h.spec.NICs, nic)
	h.releases = append(h.releases, release)
	return nil
}

func (h *Handle) add(d Disk) bool {
	if h.HasDisk(d.Serial) {
		return false
	}
	h.spec.Disks = append(h.spec.Disks, d)
	return true
}
