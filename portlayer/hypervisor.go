package portlayer

import "context"

// Hypervisor runs VMs. portlayertest.Run is its contract as a test suite. What some hypervisors can do and others can't is
// a role (see [RoleOf]).
//
// Every method is safe for concurrent use; a [Layer] calls those that change one VM one at a time. A hypervisor returns the
// errors of this package, never its own.
type Hypervisor interface {
	VMs
	Power
	Disks
	// Capacity returns what the VCH offers.
	Capacity(ctx context.Context) (Capacity, error)
}

// VMs is the part of a Hypervisor that makes, changes and shows VMs.
type VMs interface {
	// Create makes a VM, powered off, with its scratch disks. ErrExists, ErrOutOfSpace; ErrUnsupported for a spec with
	// volumes, which join by Update, and for a Boot that the hypervisor does not have. After an error there is none.
	Create(ctx context.Context, spec Spec) (VM, error)
	// Update replaces the spec of a VM that is at version: disks come and go also while it runs, sizes and NICs change
	// only when it is off, and the boot never (ErrUnsupported). A volume that another VM has, running or not, is never
	// taken from it (ErrVolumeInUse); one that leaves is whole and free for others when Update returns. ErrNotFound,
	// ErrStaleHandle, ErrVolumeNotFound; ErrUnsupported for volumes where there are none.
	Update(ctx context.Context, spec Spec, version uint64) (VM, error)
	// Destroy removes the VM and its scratch disks, never an image's and never a volume. A running one is powered off
	// first, a missing one is not an error.
	Destroy(ctx context.Context, id string) error
	// List returns every VM of this VCH, whoever owns it. *FormatError for a record that this program does not read. A VM
	// whose record is damaged does not hide the others: a condition of Capacity names it.
	List(ctx context.Context) ([]VM, error)
	// Watch sends the ID of each VM whose State or Spec may have changed, until ctx ends; then it closes the channel.
	// What happened before the call is found by List.
	Watch(ctx context.Context) <-chan string
}

// Power is the part of a Hypervisor that starts and stops VMs.
type Power interface {
	// PowerOn starts the VM and returns when it executes, not when its guest answers. A running one is not an error.
	// ErrNotFound, ErrOutOfMemory, *PowerError.
	PowerOn(ctx context.Context, id string) error
	// PowerOff stops the VM at once, as pulling the plug does. A stopped or missing one is not an error.
	PowerOff(ctx context.Context, id string) error
}

// Disks is the part of a Hypervisor that keeps image disks.
type Disks interface {
	// EnsureDisk makes the read-only disk of src's digest, once, however many ask; it is whole or absent, also after a
	// crash. Source: DiskSource.Open. ErrOutOfSpace.
	EnsureDisk(ctx context.Context, src DiskSource) (DiskRef, error)
	// CollectDisks deletes image disks that no VM has and that keep does not want.
	CollectDisks(ctx context.Context, keep func(DiskRef) bool) error
}
