package vsphere

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
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
	"config.extraConfig", "config.createDate", "config.instanceUuid", "runtime.powerState", "summary.runtime.bootTime",
}

// vmSigns are the properties whose change says that a VM has to be read.
var vmSigns = []string{"config.changeVersion", "runtime.powerState", "summary.runtime.bootTime"}

// machine is one VM as it was last seen.
type machine struct {
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
}

// readMachine makes a machine of a VM's properties; false for a VM that is none of our pod VMs.
func readMachine(vm mo.VirtualMachine) (machine, bool, error) {
	m := machine{ref: vm.Self, on: vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn}
	if vm.Config == nil {
		return m, false, nil // it is being made or lost
	}
	m.uuid = vm.Config.InstanceUuid
	if vm.Config.CreateDate != nil {
		m.createdAt = *vm.Config.CreateDate
	}
	if at := vm.Summary.Runtime.BootTime; m.on && at != nil {
		m.bootedAt = *at
	}
	var spec string
	var format int
	for _, o := range vm.Config.ExtraConfig {
		v := o.GetOptionValue()
		text, _ := v.Value.(string)
		var err error
		switch v.Key {
		case keySpec:
			spec = text
		case keyFormat:
			format, _ = strconv.Atoi(text) // what is no number is no format that is known
		case keyVersion:
			m.record.version, err = strconv.ParseUint(text, 10, 64)
		case keyUnits:
			err = json.Unmarshal([]byte(text), &m.record.units)
		case keyPower:
			err = json.Unmarshal([]byte(text), &m.record.power)
		case keyJoin:
			err = json.Unmarshal([]byte(text), &m.record.join)
		}
		if err != nil {
			return m, false, fmt.Errorf("%s of VM %s: %w", v.Key, vm.Self.Value, err)
		}
	}
	if spec == "" {
		return m, false, nil
	}
	if err := portlayer.CheckFormat(keyFormat+" of VM "+vm.Self.Value, format); err != nil {
		return m, false, err
	}
	if err := json.Unmarshal([]byte(spec), &m.record.spec); err != nil {
		return m, false, fmt.Errorf("%s of VM %s: %w", keySpec, vm.Self.Value, err)
	}
	return m, m.uid() != "", nil
}

// remember adds to what was read of a VM what this process knows of it.
func (m *machine) remember(was machine) {
	if was.on && m.on && m.bootedAt.IsZero() {
		m.bootedAt = was.bootedAt // vCenter may forget it when a VM moves
	}
	m.ranAt = was.ranAt
	m.armed = was.armed && m.record.join == was.record.join && slices.EqualFunc(m.record.spec.NICs, was.record.spec.NICs, portlayer.NIC.Equal)
}

// startedAt is when we powered it on last, or when it was seen to run; zero where it never did.
func (m machine) startedAt() time.Time {
	if at := m.record.power.StartedAt; !at.IsZero() {
		return at
	}
	return m.ranAt
}

// power is what its record has to say of its power.
func (m machine) power() power {
	p := m.record.power
	p.StartedAt = m.startedAt()
	return p
}

// endedUnnoted reports whether it ran and is off, and that it does not carry that.
func (m machine) endedUnnoted() bool {
	return !m.on && m.record.power.StartedAt.IsZero() && !m.ranAt.IsZero()
}

func (m machine) uid() string { return m.record.spec.ID }

// view is the machine as the port layer sees it.
func (m machine) view() portlayer.VM {
	vm := portlayer.VM{
		Spec: m.record.spec.Clone(), State: portlayer.StateCreated, Version: m.record.version,
		CreatedAt: m.createdAt, StartedAt: m.startedAt(), Targets: maps.Clone(m.record.units),
	}
	switch {
	case m.on:
		vm.State = portlayer.StateRunning
		if !m.bootedAt.IsZero() {
			vm.StartedAt = m.bootedAt
		}
	case !vm.StartedAt.IsZero():
		vm.State = portlayer.StateStopped
		if p := m.record.power; !p.Off {
			vm.StopReason = cmp.Or(p.Reason, "it was powered off outside of this program, or by its guest")
		}
	}
	return vm
}

// instanceUUID is what makes a pod's VM unique in all of vCenter.
func (h *Hypervisor) instanceUUID(uid string) string { return instanceUUID(h.config.Name, uid) }

func instanceUUID(vch, uid string) string {
	return uuid.NewSHA1(uuid.NewSHA1(uuid.NameSpaceURL, []byte("vic:"+vch)), []byte(uid)).String()
}
