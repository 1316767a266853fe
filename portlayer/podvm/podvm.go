package podvm

import (
	"context"
	"io"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
)

// Kind is the kind of owner that pod VMs have; VMs of other kinds are left alone.
const Kind = "Pod"

// PodHost runs pod VMs: the whole of what operations needs, in the parts by which consumers ask for it.
// podvmtest.Run is its contract as a test suite. [Host] is the one over a hypervisor.
//
// A pod VM's ID is the UID of its pod. Every method is safe for concurrent use and may be called twice.
type PodHost interface {
	Facts
	Drafts
	Lives
	Records
	Guests
	Streams
}

// Facts say what a host is.
type Facts interface {
	// Capabilities says what this host can do, so that a pod which needs more is refused by name.
	Capabilities() Capabilities
	// Capacity returns what the host offers to pods.
	Capacity(ctx context.Context) (portlayer.Capacity, error)
}

// Drafts make and change VMs.
type Drafts interface {
	// New drafts a VM that is not there yet; its ID is owner.UID and its kind Kind. ErrExists.
	New(ctx context.Context, owner portlayer.Owner) (*portlayer.Handle, error)
	// Open drafts changes to a VM. ErrNotFound.
	Open(ctx context.Context, id string) (*portlayer.Handle, error)
	// Commit applies h and returns once the hypervisor has accepted every change. ErrStaleHandle when the VM changed
	// since h was opened. After any error h is spent: Discard it, open another, replay.
	Commit(ctx context.Context, h *portlayer.Handle) (VM, error)
	// Discard gives back what an uncommitted h reserved. It does nothing to a committed one.
	Discard(h *portlayer.Handle)
}

// Lives begin and end VMs.
type Lives interface {
	// Start powers the VM on and waits until its guest has greeted. *PowerError, ErrOutOfMemory, ErrGuestUnreachable.
	Start(ctx context.Context, id string) error
	// PowerOff lets the guest sync, and cuts the power when it does not answer or ctx ends.
	PowerOff(ctx context.Context, id string) error
	// Remove destroys the VM and releases its addresses. The record of what happened in it stays until Forget.
	Remove(ctx context.Context, id string) error
	// Forget deletes the snapshots and logs that are kept of a pod whose VM is gone.
	Forget(ctx context.Context, id string) error
}

// Records show pod VMs and keep what happened in them.
type Records interface {
	// Get returns one pod VM; one that is gone but not forgotten has State StateRemoved. ErrNotFound.
	Get(ctx context.Context, id string) (VM, error)
	// List returns all that Get would.
	List(ctx context.Context) ([]VM, error)
	// Watch sends the ID of each pod VM that may have changed, until ctx ends; then it closes the channel.
	Watch(ctx context.Context) <-chan string
	// Remember keeps record, which is JSON, as VM.Record until Forget. ErrNotFound.
	Remember(ctx context.Context, id string, record []byte) error
	// AckEvents says that events up to seq of that boot are dealt with. They are in no snapshot from then on, also where
	// another process of this program asks and the guest has not heard of it.
	AckEvents(ctx context.Context, id, bootID string, seq uint64) error
}

// Guests apply the plan of a pod in its VM.
type Guests interface {
	// Configure applies what all containers share; the host adds the interfaces, the scratch disk and the clock.
	Configure(ctx context.Context, id string, pod wire.Pod) (wire.Ready, error)
	// PutFiles replaces the content of one volume.
	PutFiles(ctx context.Context, id string, files wire.Files) error
	// Run runs one container, now and as its restart policy says.
	Run(ctx context.Context, id string, c wire.Container) error
	// Stop asks the guest to end all containers and returns at once; the end is seen in VM.Guest.
	Stop(ctx context.Context, id string, stop wire.Stop) error
	// Stats returns what a running pod uses now. ErrNotFound, ErrNotRunning, ErrGuestUnreachable.
	Stats(ctx context.Context, id string) (wire.Stats, error)
}

// Streams carry bytes between users and containers.
type Streams interface {
	// Logs returns the log of one attempt of a container, CRI lines turned into what opts asks for. ErrNotFound.
	Logs(ctx context.Context, id, container string, opts LogOptions) (io.ReadCloser, error)
	// Exec runs a command in a running container and returns its exit. ErrNotRunning, ErrGuestUnreachable.
	Exec(ctx context.Context, id, container string, exec wire.Exec, stdio Stdio) (wire.Exit, error)
	// Attach connects to the running process of a container until it ends or the streams do.
	Attach(ctx context.Context, id, container string, attach wire.Attach, stdio Stdio) (wire.Exit, error)
	// DialPort opens a TCP connection to a port of the pod, from inside. The connection has a CloseWrite method.
	DialPort(ctx context.Context, id string, port uint16) (io.ReadWriteCloser, error)
	// Console returns the end of the VM's console. ErrNotFound, ErrUnsupported.
	Console(ctx context.Context, id string) ([]byte, error)
}

// Capabilities says what a host can do.
type Capabilities struct {
	// Hypervisor is the name that users know: qemu, vsphere, vic.
	Hypervisor string
	// PodNetwork is true when pods have addresses that the host and other pods reach.
	PodNetwork bool
	// HotAddDisk is true when a disk can join a running VM.
	HotAddDisk bool
	// Volumes is the CSI driver whose persistent volumes VMs can have as disks; empty where there are none.
	Volumes string
}

// VM is a pod VM with what is known of its guest.
type VM struct {
	portlayer.VM
	// Guest is the latest snapshot, of this boot or, for a VM that does not run, of the last one; nil when there was none.
	Guest *wire.Snapshot
	// Current is true when Guest is of the boot that runs now.
	Current bool
	// Greeted is true when the guest of the boot that runs now has greeted. Where Guest is not Current then, nothing was
	// configured in this boot.
	Greeted bool
	// Booting is true when this process powered the VM on and its guest has not greeted yet: nothing runs in it. Nobody knows what
	// runs in a VM that is neither Greeted nor Booting.
	Booting bool
	// SilentSince is when the guest of a running VM stopped answering; zero while it answers.
	SilentSince time.Time
	// Record is what Remember kept last; nil when there was nothing. It is not to be changed.
	Record []byte
	// LogsComplete is true when every log line of Guest's final attempts has been copied.
	LogsComplete bool
}

// LogOptions select a part of a container's log. The zero value is the whole log of the current attempt.
type LogOptions struct {
	// Attempt is the restart count of the attempt; Previous takes the one before the latest instead.
	Attempt  *int32
	Previous bool
	Follow   bool
	// Tail is a number of lines from the end, 0 and less for all.
	Tail int
	// OnlyNew leaves out every line that is there already, whatever Tail says.
	OnlyNew    bool
	Since      time.Time
	Timestamps bool
	LimitBytes int64
}

// Stdio are a user's ends of exec and attach. Nil ones are not connected.
type Stdio struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Resize delivers terminal sizes until it is closed.
	Resize <-chan wire.TerminalSize
}
