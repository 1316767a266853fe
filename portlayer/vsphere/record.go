package vsphere

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

// Keys of extraConfig. A guest reads and writes those that begin with guestinfo, and no others.
const (
	keyFormat  = "vic.format" // portlayer.Format
	keySpec    = "vic.spec"
	keyVersion = "vic.version"
	keyPower   = "vic.power"
	keyUnits   = "vic.units"
	keyJoin    = "vic.join"
	keyDisk    = "vic.importing" // the VM is an import of an image's disk, of that digest
)

// power is what we last did with a VM's power.
type power struct {
	// StartedAt is when we powered it on, by our clock; zero before that, and while a VM that was powered on for the first
	// time runs and its guest has not joined.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// Off says that we powered it off since.
	Off bool `json:"off,omitempty"`
	// Reason is why it is off, where we know and did not want it.
	Reason string `json:"reason,omitempty"`
}

// record is what a VM carries.
type record struct {
	spec    portlayer.Spec
	version uint64
	power   power
	// units are the places of disks on the bus, by serial: vSphere gives a disk no serial number that we choose.
	units map[string]int32
	join  join
}

// ownUnits are the places of the disks that are the VM's own, and go with it.
func (r record) ownUnits() map[string]int32 {
	own := maps.Clone(r.units)
	for _, d := range r.spec.Volumes() {
		delete(own, d.Serial)
	}
	return own
}

// extraConfig is the record in the form in which a VM carries it.
func (r record) extraConfig() ([]types.BaseOptionValue, error) {
	spec, err := json.Marshal(r.spec)
	if err != nil {
		return nil, fmt.Errorf("encode spec: %w", err)
	}
	units, err := json.Marshal(r.units)
	if err != nil {
		return nil, fmt.Errorf("encode units: %w", err)
	}
	return []types.BaseOptionValue{
		&types.OptionValue{Key: keyUnits, Value: string(units)},
		&types.OptionValue{Key: keyFormat, Value: strconv.Itoa(portlayer.Format)},
		&types.OptionValue{Key: keySpec, Value: string(spec)},
		&types.OptionValue{Key: keyVersion, Value: strconv.FormatUint(r.version, 10)},
	}, nil
}

// option is one thing that a VM carries; v always can be encoded.
func option(key string, v any) types.BaseOptionValue {
	b, _ := json.Marshal(v)
	return &types.OptionValue{Key: key, Value: string(b)}
}

// vmFacts are the properties that a VM is read by.
var vmFacts = []string{
	"name", "config.extraConfig", "config.createDate", "config.instanceUuid", "runtime.powerState", "runtime.connectionState",
	"summary.runtime.bootTime",
}

// vmSigns are the properties whose change says that a VM must be read.
var vmSigns = []string{"config.changeVersion", "runtime.powerState", "runtime.connectionState", "summary.runtime.bootTime"}

// ownedVM is one VM as it was last seen.
type ownedVM struct {
	ref       types.ManagedObjectReference
	uuid      string // instance UUID
	record    record
	on        bool
	createdAt time.Time
	bootedAt  time.Time // by vSphere's clock; zero while it is off, and where that is not known

	// What follows is what this process knows alone.

	// ranAt is when it was powered on or seen to run first; zero where it never was.
	ranAt time.Time
	// armed is true when it was made by this process, and carries what its first boot needs.
	armed bool
	// away is why it can't be seen as it is now; empty while it can. outside says that the folder did not show it last.
	away    string
	outside bool
}

// readVM makes one of a VM's properties; false for a VM that is none of our pod VMs.
func readVM(read mo.VirtualMachine) (ownedVM, bool, error) {
	vm := ownedVM{ref: read.Self, on: read.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn}
	if read.Config == nil {
		return vm, false, nil
	}
	vm.uuid = read.Config.InstanceUuid
	if read.Config.CreateDate != nil {
		vm.createdAt = *read.Config.CreateDate
	}
	if at := read.Summary.Runtime.BootTime; vm.on && at != nil {
		vm.bootedAt = *at
	}
	var spec string
	var format int
	for _, o := range read.Config.ExtraConfig {
		v := o.GetOptionValue()
		text, _ := v.Value.(string)
		var err error
		switch v.Key {
		case keySpec:
			spec = text
		case keyFormat:
			format, _ = strconv.Atoi(text) // what is not a number is not a format that is known
		case keyVersion:
			vm.record.version, err = strconv.ParseUint(text, 10, 64)
		case keyUnits:
			err = json.Unmarshal([]byte(text), &vm.record.units)
		case keyPower:
			err = json.Unmarshal([]byte(text), &vm.record.power)
		case keyJoin:
			err = json.Unmarshal([]byte(text), &vm.record.join)
		}
		if err != nil {
			return vm, false, fmt.Errorf("%s of VM %s: %w", v.Key, read.Self.Value, err)
		}
	}
	if spec == "" {
		return vm, false, nil
	}
	if err := portlayer.CheckFormat(keyFormat+" of VM "+read.Self.Value, format); err != nil {
		return vm, false, err
	}
	if err := json.Unmarshal([]byte(spec), &vm.record.spec); err != nil {
		return vm, false, fmt.Errorf("%s of VM %s: %w", keySpec, read.Self.Value, err)
	}
	return vm, vm.uid() != "", nil
}

// remember adds to what was read of a VM what this process knows of it.
func (vm *ownedVM) remember(was ownedVM) {
	if was.on && vm.on && vm.bootedAt.IsZero() {
		vm.bootedAt = was.bootedAt // vCenter may forget it when a VM moves
	}
	vm.ranAt, vm.outside = was.ranAt, was.outside
	vm.armed = was.armed && vm.record.join == was.record.join && slices.EqualFunc(vm.record.spec.NICs, was.record.spec.NICs, portlayer.NIC.Equal)
}

// startedAt is when we powered it on last, or when it was seen to run; zero where it never did.
func (vm ownedVM) startedAt() time.Time {
	if at := vm.record.power.StartedAt; !at.IsZero() {
		return at
	}
	return vm.ranAt
}

// power is what its record has to say of its power.
func (vm ownedVM) power() power {
	p := vm.record.power
	p.StartedAt = vm.startedAt()
	return p
}

// endedUnnoted reports whether it ran and is off, and that it does not carry that.
func (vm ownedVM) endedUnnoted() bool {
	return !vm.on && vm.record.power.StartedAt.IsZero() && !vm.ranAt.IsZero()
}

func (vm ownedVM) uid() string { return vm.record.spec.ID }

// before reports which of two VMs of one pod is shown: one that runs, the older one.
func (vm ownedVM) before(other ownedVM) bool {
	if vm.on != other.on {
		return vm.on
	}
	return cmp.Or(vm.createdAt.Compare(other.createdAt), strings.Compare(vm.ref.Value, other.ref.Value)) < 0
}

// view is the VM as the port layer sees it.
func (vm ownedVM) view() portlayer.VM {
	seen := portlayer.VM{
		Spec: vm.record.spec.Clone(), State: portlayer.StateCreated, Version: vm.record.version,
		CreatedAt: vm.createdAt, StartedAt: vm.startedAt(), Targets: maps.Clone(vm.record.units), Ref: vm.ref.Value,
	}
	switch {
	case vm.on:
		seen.State = portlayer.StateRunning
		if !vm.bootedAt.IsZero() {
			seen.StartedAt = vm.bootedAt
		}
	case !seen.StartedAt.IsZero():
		seen.State = portlayer.StateStopped
		if p := vm.record.power; !p.Off {
			seen.StopReason = cmp.Or(p.Reason, "it was powered off outside of this program, or by its guest")
		}
	}
	return seen
}

// instanceUUID is what makes a pod's VM unique in all of vCenter.
func (h *Hypervisor) instanceUUID(uid string) string { return instanceUUID(h.config.Name, uid) }

func instanceUUID(vch, uid string) string {
	return uuid.NewSHA1(uuid.NewSHA1(uuid.NameSpaceURL, []byte("vic:"+vch)), []byte(uid)).String()
}
