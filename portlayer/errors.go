package portlayer

import (
	"errors"
	"fmt"
)

// Kinds of failure that callers act on. Test with errors.Is.
var (
	// ErrNotFound says that there is no pod VM, container or log of that name.
	ErrNotFound = errors.New("not found")
	// ErrExists says that a draft of a new VM was committed and the VM is there already.
	ErrExists = errors.New("already exists")
	// ErrStaleHandle says that the VM changed since the handle was opened: open another and replay.
	ErrStaleHandle = errors.New("stale handle")
	// ErrNoAddress says that a scope has no free address.
	ErrNoAddress = errors.New("no free address")
	// ErrOutOfMemory says that the VCH has too little free memory for the VM.
	ErrOutOfMemory = errors.New("out of memory")
	// ErrOutOfSpace says that the VCH's storage is full.
	ErrOutOfSpace = errors.New("no space left")
	// ErrBusy says that the hypervisor could not do it now; the same call may succeed later.
	ErrBusy = errors.New("busy")
	// ErrGuestUnreachable says that the VM runs and its guest does not answer.
	ErrGuestUnreachable = errors.New("guest unreachable")
	// ErrNotRunning says that the VM or the container does not run.
	ErrNotRunning = errors.New("not running")
	// ErrVolumeInUse says that another VM has the volume; the same call may succeed once it has given it back.
	ErrVolumeInUse = errors.New("volume in use")
	// ErrVolumeNotFound says that the hypervisor has no volume of that name.
	ErrVolumeNotFound = errors.New("volume not found")
	// ErrUnsupported says that this host cannot do it at all.
	ErrUnsupported = errors.New("unsupported")
)

// A VolumeError says which volume it is that a VM does not get or give back.
type VolumeError struct {
	// Volume is the hypervisor's name for it.
	Volume string
	Err    error
}

// Error names the volume and the cause.
func (e *VolumeError) Error() string { return fmt.Sprintf("volume %s: %v", e.Volume, e.Err) }

// Unwrap returns the cause.
func (e *VolumeError) Unwrap() error { return e.Err }

// A PowerError says that a VM ended, or never came up, where it should have run. Console is the end of its console.
type PowerError struct {
	UID     string
	Reason  string
	Console string
}

// Error names the VM and the reason, not the console.
func (e *PowerError) Error() string {
	return fmt.Sprintf("pod VM %s ended: %s", e.UID, e.Reason)
}

// A SilentBootError says that a VM runs and its guest has not greeted in time. Console is the end of its console. It is an
// ErrGuestUnreachable.
type SilentBootError struct {
	Cause   error
	Console string
}

// Error tells the cause, not the console.
func (e *SilentBootError) Error() string {
	return fmt.Sprintf("no greeting: %v: %v", ErrGuestUnreachable, e.Cause)
}

// Unwrap returns what it is and what caused it.
func (e *SilentBootError) Unwrap() []error { return []error{ErrGuestUnreachable, e.Cause} }
