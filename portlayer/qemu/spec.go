package qemu

import (
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	maxDisks = 200 // QEMU's virtio-scsi takes 256 targets
	maxNICs  = 8   // PCI slots of the pc machine, with room for the other devices
	maxVCPUs = 255
)

// checkSpec refuses what could not boot, or what could reach beyond the VM's directory and command line.
func checkSpec(s portlayer.Spec) error {
	switch {
	case !validUID.MatchString(s.ID):
		return fmt.Errorf("ID %q is not a name for a VM", s.ID)
	case s.Size.VCPUs < 1 || s.Size.VCPUs > maxVCPUs:
		return fmt.Errorf("%d processors: a VM has 1 to %d", s.Size.VCPUs, maxVCPUs)
	case s.Size.MemoryBytes < mib:
		return fmt.Errorf("%d bytes of memory are too few for a VM", s.Size.MemoryBytes)
	case len(s.Disks) > maxDisks:
		return fmt.Errorf("%d disks: a VM has at most %d", len(s.Disks), maxDisks)
	case len(s.NICs) > maxNICs:
		return fmt.Errorf("%d interfaces: a VM has at most %d", len(s.NICs), maxNICs)
	}
	return errors.Join(s.CheckBoot(), checkDisks(s.Disks), checkNICs(s.NICs))
}

func checkDisks(disks []portlayer.Disk) error {
	seen := map[string]bool{}
	for _, d := range disks {
		switch {
		case !validSerial.MatchString(d.Serial):
			return fmt.Errorf("disk serial %q is not 1 to 36 letters, digits, - and _", d.Serial)
		case seen[d.Serial]:
			return fmt.Errorf("disk serial %s is there twice", d.Serial)
		case d.Kind == portlayer.DiskScratch && d.SizeBytes <= 0:
			return fmt.Errorf("scratch disk %s has no size", d.Serial)
		case d.Kind == portlayer.DiskImage && !validRef.MatchString(string(d.Ref)):
			return fmt.Errorf("image disk %s: %q is not a disk of this VCH: %w", d.Serial, d.Ref, portlayer.ErrNotFound)
		case d.Kind == portlayer.DiskVolume:
			return fmt.Errorf("disk %s: QEMU's VMs have no volumes: %w", d.Serial, portlayer.ErrUnsupported)
		case d.Kind != portlayer.DiskImage && d.Kind != portlayer.DiskScratch:
			return fmt.Errorf("disk %s is of unknown kind %q", d.Serial, d.Kind)
		}
		seen[d.Serial] = true
	}
	return nil
}

func checkNICs(nics []portlayer.NIC) error {
	for _, n := range nics {
		if mac, err := net.ParseMAC(n.MAC); err != nil || len(mac) != 6 {
			return fmt.Errorf("interface in scope %s: %q is not a MAC address", n.Scope, n.MAC)
		}
		if address, _ := n.IPv4(); len(n.Addresses) != 1 || !address.IsValid() {
			return fmt.Errorf("interface in scope %s has %v, and QEMU's network takes one IPv4 address: %w",
				n.Scope, n.Addresses, portlayer.ErrUnsupported)
		}
	}
	return nil
}

// sameHardware is true when two specs differ only in what can change while a VM runs: disks, owner and annotations.
func sameHardware(a, b portlayer.Spec) bool {
	return a.Size == b.Size && a.Boot == b.Boot && slices.EqualFunc(a.NICs, b.NICs, portlayer.NIC.Equal)
}
