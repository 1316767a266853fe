package vsphere

import (
	"context"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

const (
	// maxDisks is what one pvscsi controller has (vSphere configuration maximums), its own place not counted.
	maxDisks = 63
	maxNICs  = 10
	maxVCPUs = 768

	pvscsiKey = 1000
	// diskKeys and nicKeys begin the keys of our devices in a spec; vSphere gives its own.
	diskKeys, nicKeys = -100, -300
	// ownUnit is the controller's own place on its bus.
	ownUnit = 7
)

// checkSpec refuses what vSphere could not make.
func (h *Hypervisor) checkSpec(s portlayer.Spec) error {
	switch {
	case !validUID.MatchString(s.ID):
		return fmt.Errorf("ID %q is not a name for a VM", s.ID)
	case s.Size.VCPUs < 1 || s.Size.VCPUs > maxVCPUs:
		return fmt.Errorf("%d processors: a VM has 1 to %d", s.Size.VCPUs, maxVCPUs)
	case s.Size.MemoryBytes < memoryUnit || s.Size.MemoryBytes%memoryUnit != 0:
		return fmt.Errorf("%d bytes of memory: a VM has a multiple of %d", s.Size.MemoryBytes, memoryUnit)
	case len(s.Disks) > maxDisks:
		return fmt.Errorf("%d disks: a VM has at most %d", len(s.Disks), maxDisks)
	case len(s.NICs) > maxNICs:
		return fmt.Errorf("%d interfaces: a VM has at most %d", len(s.NICs), maxNICs)
	}
	if err := s.CheckBoot(); err != nil {
		return err
	}
	for _, n := range s.NICs {
		if h.place.networks[n.Scope] == nil {
			return fmt.Errorf("scope %s has no network in this VCH: %w", n.Scope, portlayer.ErrUnsupported)
		}
	}
	seen, volumes := map[string]bool{}, map[string]bool{}
	for _, d := range s.Disks {
		switch {
		case seen[d.Serial]:
			return fmt.Errorf("disk serial %s is there twice", d.Serial)
		case d.Kind == portlayer.DiskScratch && d.SizeBytes <= 0:
			return fmt.Errorf("scratch disk %s has no size", d.Serial)
		case d.Kind == portlayer.DiskImage && !h.disks.has(d.Ref):
			return fmt.Errorf("image disk %s: %q is not a disk of this VCH: %w", d.Serial, d.Ref, portlayer.ErrNotFound)
		case d.Kind == portlayer.DiskVolume && !validVolume.MatchString(d.Volume):
			return fmt.Errorf("disk %s: %q is not a first-class disk: %w", d.Serial, d.Volume, portlayer.ErrVolumeNotFound)
		case d.Kind == portlayer.DiskVolume && volumes[d.Volume]:
			return fmt.Errorf("volume %s is there twice", d.Volume)
		case d.Kind == portlayer.DiskVolume:
			volumes[d.Volume] = true
		case d.Kind != portlayer.DiskImage && d.Kind != portlayer.DiskScratch:
			return fmt.Errorf("disk %s is of unknown kind %q", d.Serial, d.Kind)
		}
		seen[d.Serial] = true
	}
	return nil
}

// devices are those of a new VM.
func (h *Hypervisor) devices(r record) ([]types.BaseVirtualDeviceConfigSpec, error) {
	var list object.VirtualDeviceList
	scsi, err := list.CreateSCSIController("pvscsi")
	if err != nil {
		return nil, err
	}
	scsi.GetVirtualDevice().Key = pvscsiKey
	list = append(list, scsi)
	if h.config.BootISO != "" && r.spec.Boot.HasGuest() {
		ide, err := list.CreateIDEController()
		if err != nil {
			return nil, err
		}
		list = append(list, ide)
		cd, err := list.CreateCdrom(ide.(*types.VirtualIDEController))
		if err != nil {
			return nil, err
		}
		list = append(list, list.InsertIso(cd, h.config.BootISO))
	}
	changes, err := list.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
	if err != nil {
		return nil, err
	}
	cards, err := h.cards(r.spec.NICs)
	if err != nil {
		return nil, err
	}
	changes = append(changes, cards...)
	for _, d := range r.spec.Disks {
		changes = append(changes, h.addDisk(d, pvscsiKey, r.units[d.Serial]))
	}
	return changes, nil
}

// cards are interfaces to add.
func (h *Hypervisor) cards(nics []portlayer.NIC) ([]types.BaseVirtualDeviceConfigSpec, error) {
	var list object.VirtualDeviceList
	for i, n := range nics {
		nic, err := list.CreateEthernetCard("vmxnet3", h.place.networks[n.Scope])
		if err != nil {
			return nil, err
		}
		card := nic.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard()
		card.Key = int32(nicKeys - i)
		card.AddressType, card.MacAddress = string(types.VirtualEthernetCardMacTypeManual), n.MAC
		list = append(list, nic)
	}
	return list.ConfigSpec(types.VirtualDeviceConfigSpecOperationAdd)
}

// placeDisks gives every disk a place on the bus: the one that it has, or a free one.
func placeDisks(has map[string]int32, disks []portlayer.Disk) map[string]int32 {
	units, taken := map[string]int32{}, map[int32]bool{ownUnit: true}
	for _, d := range disks {
		if u, ok := has[d.Serial]; ok {
			units[d.Serial], taken[u] = u, true
		}
	}
	next := int32(0)
	for _, d := range disks {
		if _, ok := units[d.Serial]; ok {
			continue
		}
		for taken[next] {
			next++
		}
		units[d.Serial], taken[next] = next, true
	}
	return units
}

// bootFirst are the spec's disks in the order in which a BIOS tries them: it boots the first or none.
func bootFirst(spec portlayer.Spec) []portlayer.Disk {
	if spec.Boot.Kind != portlayer.BootDisk {
		return spec.Disks
	}
	disks := slices.Clone(spec.Disks)
	i := slices.IndexFunc(disks, func(d portlayer.Disk) bool { return d.Serial == spec.Boot.Disk })
	return slices.Insert(slices.Delete(disks, i, i+1), 0, spec.Disks[i])
}

// addDisk makes a scratch disk, or a child of an image's.
func (h *Hypervisor) addDisk(d portlayer.Disk, controller, unit int32) *types.VirtualDeviceConfigSpec {
	datastore := h.place.datastore.Reference()
	backing := &types.VirtualDiskFlatVer2BackingInfo{
		VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{Datastore: &datastore},
		DiskMode:                     string(types.VirtualDiskModePersistent),
		ThinProvisioned:              new(true),
	}
	disk := &types.VirtualDisk{
		VirtualDevice: types.VirtualDevice{
			Key: diskKeys - unit, ControllerKey: controller, UnitNumber: &unit, Backing: backing,
		},
		CapacityInKB: (d.SizeBytes + 1023) / 1024,
	}
	if d.Kind == portlayer.DiskImage {
		backing.Parent = &types.VirtualDiskFlatVer2BackingInfo{
			VirtualDeviceFileBackingInfo: types.VirtualDeviceFileBackingInfo{
				Datastore: &datastore, FileName: h.disks.path(d.Ref),
			},
			DiskMode: string(types.VirtualDiskModePersistent),
		}
		disk.CapacityInKB = h.disks.capacityKB(d.Ref)
	}
	return &types.VirtualDeviceConfigSpec{
		Operation:     types.VirtualDeviceConfigSpecOperationAdd,
		FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
		Device:        disk,
		Profile:       h.place.policy,
	}
}

// removal takes a disk out of a VM, and leaves its files.
func removal(disk *types.VirtualDisk) *types.VirtualDeviceConfigSpec {
	return &types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: disk}
}

// devicesOf reads a VM's hardware; none of one that is being lost.
func (h *Hypervisor) devicesOf(ctx context.Context, vm ownedVM) (object.VirtualDeviceList, error) {
	var facts mo.VirtualMachine
	err := property.DefaultCollector(h.client).RetrieveOne(ctx, vm.ref, []string{"config.hardware.device"}, &facts)
	if err != nil {
		return nil, fmt.Errorf("read devices: %w", err)
	}
	if facts.Config == nil {
		return nil, fmt.Errorf("its configuration can't be read: %w", portlayer.ErrBusy)
	}
	return facts.Config.Hardware.Device, nil
}
