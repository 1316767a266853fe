package supervisor

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/virtual-kubelet/vic/guest/probe"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// Errors that a host acts on.
var (
	// ErrNotFound says that the pod has no container of that name.
	ErrNotFound = errors.New("no such container")
	// ErrConflict says that something else was applied before.
	ErrConflict = errors.New("conflicts with what was applied before")
	// ErrInvalid says that a pod or a container can't be run as it is.
	ErrInvalid = errors.New("not valid")
)

// Runtime starts containers.
type Runtime interface {
	// Start starts one attempt. It returns when the container's process runs, or with what hindered it. When ctx ends,
	// it stops waiting for disks.
	Start(ctx context.Context, a Attempt) (Task, error)
}

// Attempt is one start of a container.
type Attempt struct {
	Container wire.Container
	Number    int32
	ID        string
}

// Prober asks a container about its health.
type Prober interface {
	Probe(ctx context.Context, p wire.Probe, t probe.Target) probe.Outcome
}

// Hooks runs the hooks of a container's life.
type Hooks interface {
	Hook(ctx context.Context, a wire.Action, t probe.Target) error
}

// Task is an attempt that runs, or has run. Commands are run in it while it runs.
type Task interface {
	probe.Execer
	// Signal sends a signal to the container's first process.
	Signal(sig syscall.Signal) error
	// Done is closed when the process has ended and all it wrote is in the log.
	Done() <-chan struct{}
	// Result is how it ended; it is called after Done.
	Result() Result
	// LogBytes is the length of the log so far.
	LogBytes() int64
}

// Result is how an attempt ended.
type Result struct {
	ExitCode int32 // 128 and the signal's number for a process that a signal ended
	Signal   syscall.Signal
	// OOMKilled is true when the kernel ended a process of it for lack of memory, be it its first one or not.
	OOMKilled  bool
	Message    string
	FinishedAt time.Time
}

func (r Result) reason() string {
	switch {
	case r.OOMKilled:
		return wire.ReasonOOMKilled
	case r.ExitCode != 0:
		return wire.ReasonError
	default:
		return wire.ReasonCompleted
	}
}
