package portlayer

import (
	"context"
	"io"
)

// Hypervisor is what an Engine needs of the thing that runs VMs. portlayertest.Run is its contract as a test suite.
//
// Every method is safe for concurrent use; the Engine calls those that change one VM one at a time. A hypervisor
// returns the errors of this package, never its own.
type Hypervisor interface {
	// EnsureDisk makes the read-only disk of src's digest, once, however many ask; it is whole or absent, also after a
	// crash. Source: DiskSource.Open. ErrOutOfSpace.
	EnsureDisk(ctx context.Context, src DiskSource) (DiskRef, error)
	// CollectDisks deletes image disks that no VM has and that keep does not want.
	CollectDisks(ctx context.Context, keep func(DiskRef) bool) error

	// Create makes a VM, powered off, with its scratch disks. ErrExists, ErrOutOfSpace; ErrUnsupported for a spec with
	// volumes, which join by Update. After an error there is none.
	Create(ctx context.Context, spec VMSpec) (VM, error)
	// Update replaces the spec of a VM that is at version: disks come and go also while it runs, sizes and NICs change
	// only when it is off (ErrUnsupported). A volume that another VM has, running or not, is never taken from it
	// (ErrVolumeInUse); one that leaves is whole and free for others when Update returns. ErrNotFound, ErrStaleHandle,
	// ErrVolumeNotFound; ErrUnsupported for volumes where there are none.
	Update(ctx context.Context, spec VMSpec, version uint64) (VM, error)
	// PowerOn starts the VM and returns when it executes, not when its guest answers. A running one is no error.
	// ErrNotFound, ErrOutOfMemory, *PowerError.
	PowerOn(ctx context.Context, uid string) error
	// PowerOff stops the VM at once, as pulling the plug does. A stopped or missing one is no error.
	PowerOff(ctx context.Context, uid string) error
	// Destroy removes the VM and its scratch disks, never an image's and never a volume. A running one is powered off first, a missing one
	// is no error.
	Destroy(ctx context.Context, uid string) error

	// List returns every VM of this VCH, whoever's node it is.
	List(ctx context.Context) ([]VM, error)
	// Watch sends the UID of each VM whose State or Spec may have changed, until ctx ends; then it closes the channel.
	// What happened before the call, or while the channel was full, is found by List.
	Watch(ctx context.Context) <-chan string
	// Dial opens the byte channel to the guest of a running VM. There is one at a time: another host process that has
	// it makes this ErrBusy. Bytes of a former connection may come first. ErrNotFound, ErrNotRunning.
	Dial(ctx context.Context, uid string) (io.ReadWriteCloser, error)
	// Console returns what is kept of the VM's console, at most the last MiB. ErrNotFound.
	Console(ctx context.Context, uid string) ([]byte, error)
	// Capacity returns what the VCH offers.
	Capacity(ctx context.Context) (Capacity, error)
}
