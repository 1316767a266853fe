package portlayer

import (
	"errors"
	"fmt"
)

// Kinds of failure that callers act on. Test with errors.Is.
var (
	// ErrNotFound says that there is no VM, container or log of that name.
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
	Reason  string
	Console string
}

// Error says the reason, not the console; the layer that acted names the VM.
func (e *PowerError) Error() string { return "it ended: " + e.Reason }

// A SilentBootError says that a VM runs and its guest has not greeted in time. Console is the end of its console. It is an
// ErrGuestUnreachable.
type SilentBootError struct {
	Cause   error
	Console string
}

// Error says the cause, not the console; the layer that acted names the VM.
func (e *SilentBootError) Error() string {
	return fmt.Sprintf("no greeting: %v: %v", ErrGuestUnreachable, e.Cause)
}

// Unwrap returns what it is and what caused it.
func (e *SilentBootError) Unwrap() []error { return []error{ErrGuestUnreachable, e.Cause} }

// Format is the version of what hypervisors and run directories keep of a VM. A record of another format is refused.
const Format = 1

// A FormatError says that something keeps its records in a form that this program does not read. Nothing of it is changed.
type FormatError struct {
	// Place is the file or object that has the record.
	Place string
	// Format is what the record says; 0 where it says nothing.
	Format int
}

// CheckFormat returns a *FormatError unless format is the one that this program reads.
func CheckFormat(place string, format int) error {
	if format == Format {
		return nil
	}
	return &FormatError{Place: place, Format: format}
}

// Error names the place and says what to do.
func (e *FormatError) Error() string {
	has := fmt.Sprintf("has format %d", e.Format)
	if e.Format == 0 {
		has = "has no format"
	}
	return fmt.Sprintf("%s %s, and this program reads format %d: serve it with the version of vic that wrote it, or drain the node with "+
		"that version first; nothing of it was changed", e.Place, has, Format)
}
