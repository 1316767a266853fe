package memhv

import (
	"fmt"
	"slices"

	"github.com/virtual-kubelet/vic/portlayer"
)

// AddVolume makes a volume that VMs can have.
func (h *Hypervisor) AddVolume(volume string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.volumes[volume] = true
}

// checkVolumesLocked refuses volumes that are not there, or that another VM has.
func (h *Hypervisor) checkVolumesLocked(spec portlayer.Spec) error {
	for _, d := range spec.Volumes() {
		if !h.volumes[d.Volume] {
			return fmt.Errorf("volume %s: %w", d.Volume, portlayer.ErrVolumeNotFound)
		}
		same := func(other portlayer.Disk) bool { return other.Volume == d.Volume }
		for uid, other := range h.vms {
			if uid != spec.ID && slices.ContainsFunc(other.Spec.Volumes(), same) {
				return fmt.Errorf("volume %s is attached to VM %s: %w", d.Volume, uid, portlayer.ErrVolumeInUse)
			}
		}
	}
	return nil
}
