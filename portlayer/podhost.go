package portlayer

import (
	"context"
	"io"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// PodHost is what operations needs of a host of pod VMs. Consumers declare the part that they use.
//
// Every method is safe for concurrent use and may be called twice.
type PodHost interface {
	// Capabilities says what this host can do, so that a pod which needs more is refused by name.
	Capabilities() Capabilities
	// Capacity returns what the host offers to pods.
	Capacity(ctx context.Context) (Capacity, error)

	// New drafts a VM that is not there yet. ErrExists.
	New(ctx context.Context, id Identity) (*Handle, error)
	// Open drafts changes to the VM of that pod. ErrNotFound.
	Open(ctx context.Context, uid string) (*Handle, error)
	// Commit applies h and returns once the hypervisor has accepted every change. ErrStaleHandle when the VM changed
	// since h was opened. After any error h is spent: Discard it, open another, replay.
	Commit(ctx context.Context, h *Handle) (PodVM, error)
	// Discard gives back what an uncommitted h reserved. It does nothing to a committed one.
	Discard(h *Handle)

	// Start powers the VM on and waits until its guest has greeted. *PowerError, ErrOutOfMemory, ErrGuestUnreachable.
	Start(ctx context.Context, uid string) error
	// Configure applies what all containers share; the host adds the interfaces, the scratch disk and the clock.
	Configure(ctx context.Context, uid string, pod wire.Pod) (wire.Ready, error)
	// PutFiles replaces the content of one volume.
	PutFiles(ctx context.Context, uid string, files wire.Files) error
	// Run runs one container, now and as its restart policy says.
	Run(ctx context.Context, uid string, c wire.Container) error
	// Stop asks the guest to end all containers and returns at once; the end is seen in PodVM.Guest.
	Stop(ctx context.Context, uid string, stop wire.Stop) error
	// PowerOff lets the guest sync, and cuts the power when it does not answer or ctx ends.
	PowerOff(ctx context.Context, uid string) error
	// Remove destroys the VM and releases its address. What happened in it is kept until Forget.
	Remove(ctx context.Context, uid string) error
	// Forget deletes the snapshots and logs that are kept of a pod whose VM is gone.
	Forget(ctx context.Context, uid string) error

	// Get returns one pod VM; one that is gone but not forgotten has State StateRemoved. ErrNotFound.
	Get(ctx context.Context, uid string) (PodVM, error)
	// List returns all that Get would.
	List(ctx context.Context) ([]PodVM, error)
	// Watch sends the UID of each pod VM that may have changed, until ctx ends; then it closes the channel.
	Watch(ctx context.Context) <-chan string
	// AckEvents tells the guest that events up to seq of that boot are dealt with. They are in no snapshot from then on,
	// also where another process of this program asks and the guest has not heard of it.
	AckEvents(ctx context.Context, uid, bootID string, seq uint64) error
	// SetNote keeps note, which is JSON, as PodVM.Note until Forget. ErrNotFound.
	SetNote(ctx context.Context, uid string, note []byte) error

	// Stats returns what a running pod uses now. ErrNotFound, ErrNotRunning, ErrGuestUnreachable.
	Stats(ctx context.Context, uid string) (wire.Stats, error)

	// Logs returns the log of one attempt of a container, CRI lines turned into what opts asks for. ErrNotFound.
	Logs(ctx context.Context, uid, container string, opts LogOptions) (io.ReadCloser, error)
	// Exec runs a command in a running container and returns its exit. ErrNotRunning, ErrGuestUnreachable.
	Exec(ctx context.Context, uid, container string, exec wire.Exec, streams Streams) (wire.Exit, error)
	// Attach connects to the running process of a container until it ends or streams do.
	Attach(ctx context.Context, uid, container string, attach wire.Attach, streams Streams) (wire.Exit, error)
	// DialPort opens a TCP connection to a port of the pod, from inside.
	DialPort(ctx context.Context, uid string, port uint16) (io.ReadWriteCloser, error)
	// Console returns the end of the VM's console.
	Console(ctx context.Context, uid string) ([]byte, error)
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

// PodVM is a pod VM with what is known of its guest.
type PodVM struct {
	VM
	// Guest is the latest snapshot, of this boot or, for a VM that does not run, of the last one; nil when there was none.
	Guest *wire.Snapshot
	// Current tells that Guest is of the boot that runs now.
	Current bool
	// Greeted tells that the guest of the boot that runs now has greeted. Where Guest is not Current then, nothing was
	// configured in this boot.
	Greeted bool
	// Booting tells that this process powered the VM on and that its guest has not greeted yet: nothing runs in it. Of a VM
	// that is neither Greeted nor Booting it is not known what runs in it.
	Booting bool
	// SilentSince is when the guest of a running VM stopped answering; zero while it answers.
	SilentSince time.Time
	// Note is what SetNote kept last; nil when there was nothing. It is not to be changed.
	Note []byte
	// LogsComplete tells that every log line of Guest's final attempts has been copied.
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

// Streams are a user's ends of exec and attach. Nil ones are not connected.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Resize delivers terminal sizes until it is closed.
	Resize <-chan wire.TerminalSize
}
