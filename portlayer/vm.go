package portlayer

import (
	"fmt"
	"slices"
	"time"
)

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

// CanBecome reports whether a caller may command the move from s to t.
func (s State) CanBecome(t State) bool { return slices.Contains(next[s], t) }

// VM is a VM as its hypervisor shows it.
type VM struct {
	Spec  Spec
	State State
	// Version changes with every change of Spec; handles are pinned to it.
	Version uint64
	// Ref is what the hypervisor itself calls the VM, where it finds it by that when it does not list it (Recaller); empty elsewhere.
	Ref string `json:",omitempty"`
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

// DiskName is under what name the guest finds a disk: its serial number, with "@" and its target behind if it has one.
func (v VM) DiskName(serial string) string {
	if target, ok := v.Targets[serial]; ok {
		return fmt.Sprintf("%s@%d", serial, target)
	}
	return serial
}

// ID is Spec.ID.
func (v VM) ID() string { return v.Spec.ID }
