package portlayer

import (
	"context"
	"fmt"
	"io"
)

// Roles are what some hypervisors can do and others can't. Each is one small interface; RoleOf asks for it.

// Dialer opens byte channels to guests.
type Dialer interface {
	// Dial opens the byte channel to the guest of a running VM. There is one at a time: another host process that has
	// it makes this ErrBusy. Bytes of a former connection may come first. ErrNotFound, ErrNotRunning; ErrUnsupported for a
	// VM that boots no guest of ours.
	Dial(ctx context.Context, id string) (io.ReadWriteCloser, error)
}

// ConsoleReader keeps what VMs write to their serial consoles.
type ConsoleReader interface {
	// Console returns what is kept of the VM's console, at most the last MiB. ErrNotFound.
	Console(ctx context.Context, id string) ([]byte, error)
}

// VolumeHost attaches disks that have a life of their own (DiskVolume).
type VolumeHost interface {
	// VolumeDriver is the name of the CSI driver whose volumes these are.
	VolumeDriver() string
}

// Recaller finds VMs again that it does not list.
type Recaller interface {
	// Recall takes VMs that List does not show, as a former process saw them last, with their Refs. Those that are there are listed
	// from then on, as they were where they can't be read now; those that are gone are not.
	Recall(ctx context.Context, vms []VM) error
}

// Resizer changes the size of a running VM.
type Resizer interface {
	// Resize gives a running VM that size. ErrNotFound, ErrNotRunning, ErrOutOfMemory.
	Resize(ctx context.Context, id string, size Size) error
}

// Pauser stops the processors of a VM for a while.
type Pauser interface {
	// Pause stops the VM's processors, and Resume lets them go on. Either may be called twice. ErrNotFound, ErrNotRunning.
	Pause(ctx context.Context, id string) error
	Resume(ctx context.Context, id string) error
}

// RoleOf returns h as a role R, and false where it does not have that role. It looks through wrappers that have a method
// Unwrap() Hypervisor.
func RoleOf[R any](h Hypervisor) (R, bool) {
	for h != nil {
		if role, ok := h.(R); ok {
			return role, true
		}
		wrapper, ok := h.(interface{ Unwrap() Hypervisor })
		if !ok {
			break
		}
		h = wrapper.Unwrap()
	}
	var none R
	return none, false
}

// role returns h as a role that a call needs. what names the role for people.
func role[R any](h Hypervisor, what string) (R, error) {
	r, ok := RoleOf[R](h)
	if !ok {
		return r, fmt.Errorf("%s: the hypervisor has none: %w", what, ErrUnsupported)
	}
	return r, nil
}
