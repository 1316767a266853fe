package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/boot"
	"github.com/virtual-kubelet/vic/guest/crun"
	"github.com/virtual-kubelet/vic/guest/logfile"
	"github.com/virtual-kubelet/vic/guest/process"
	"github.com/virtual-kubelet/vic/guest/server"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/usage"
	"github.com/virtual-kubelet/vic/guest/volume"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const powerOffTimeout = 20 * time.Second

// system is the pod VM. It implements what package server needs, and hands a pod's containers to the runtime that
// Configure made.
type system struct {
	version    string
	reaper     *process.Reaper
	supervisor *supervisor.Supervisor

	applying sync.Mutex // held while a pod is configured; guards steps
	steps    steps

	mu         sync.Mutex // guards all below, which are set when all steps are done
	pod        *wire.Pod
	volumes    *volume.Set
	logs       *logfile.Store
	runtime    *crun.Runtime
	poweredOff bool
}

// Hello implements [server.System].
func (s *system) Hello() (wire.Hello, error) {
	kernel, err := boot.Kernel()
	if err != nil {
		return wire.Hello{}, err
	}
	memory, err := boot.MemoryBytes()
	if err != nil {
		return wire.Hello{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return wire.Hello{
		BootID: s.supervisor.BootID(), Version: s.version, Kernel: kernel, Configured: s.pod != nil,
		MemoryBytes: memory, CPUs: runtime.NumCPU(), Time: time.Now(),
	}, nil
}

// SetClock implements [server.System].
func (s *system) SetClock(t time.Time) error {
	if err := boot.SetClock(t); err != nil {
		return err
	}
	s.supervisor.ClockSet()
	return nil
}

// PutFiles implements [server.System].
func (s *system) PutFiles(f wire.Files) error {
	s.mu.Lock()
	volumes, configured := s.volumes, s.pod != nil
	s.mu.Unlock()
	if !configured {
		return fmt.Errorf("%w: there is no pod yet", supervisor.ErrConflict)
	}
	return volumes.Put(f)
}

// PowerOff implements [server.System].
func (s *system) PowerOff(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.poweredOff {
		return
	}
	s.poweredOff = true
	// Ends with the VM.
	go s.powerOff(ctx)
}

func (s *system) powerOff(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	applied := s.applied(ctx)
	s.supervisor.Stop(wire.Stop{})
	err := s.supervisor.Done(ctx)
	if r := s.containers(); err == nil && r != nil {
		err = r.Close(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.logs != nil {
		_ = s.logs.Close() // what was written is in the page cache, which PowerOff writes back
	}
	if applied && s.steps.volumes != nil {
		err = errors.Join(err, s.steps.volumes.Close()) // what stays mounted is as the scratch disk then
	}
	// Not mounted before a pod is there, and busy where something was left behind: the kernel then writes back, and replays
	// the journal at the next boot.
	_ = unix.Unmount(scratchDir, 0)
	logging.From(ctx).InfoContext(ctx, "VM powered off", "err", err)
	if err := boot.PowerOff(); err != nil {
		logging.From(ctx).ErrorContext(ctx, "VM did not power off", "err", err)
	}
}

// applied waits for what is being configured, since half a file system is none. Nothing is configured from then on, and
// steps are the caller's.
func (s *system) applied(ctx context.Context) bool {
	done := make(chan struct{})
	// Ends when what is being configured does, or with the VM.
	go func() {
		s.applying.Lock()
		close(done)
	}()
	select {
	case <-done:
		return true
	case <-ctx.Done():
		return false
	}
}

// containers returns the runtime, or nil before a pod is configured.
func (s *system) containers() *crun.Runtime {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.runtime
}

// Start implements [supervisor.Runtime].
func (s *system) Start(ctx context.Context, a supervisor.Attempt) (supervisor.Task, error) {
	return s.containers().Start(ctx, a) // there is one before the supervisor has containers
}

// Running implements [server.Streams].
func (s *system) Running(container string) error {
	r := s.containers()
	if r == nil {
		return crun.ErrNotRunning
	}
	return r.Running(container)
}

// Exec implements [server.Streams].
func (s *system) Exec(
	ctx context.Context, container string, e wire.Exec, stdout, stderr io.Writer,
) (server.Session, error) {
	session, err := s.containers().Exec(ctx, container, e, stdout, stderr) // Running came before
	if err != nil {
		return nil, err
	}
	return session, nil
}

// Attach implements [server.Streams].
func (s *system) Attach(container string, a wire.Attach, stdout, stderr io.Writer) (server.Session, error) {
	session, err := s.containers().Attach(container, a, stdout, stderr) // Running came before
	if err != nil {
		return nil, err
	}
	return session, nil
}

// Stats implements [server.Usage].
func (s *system) Stats() (wire.Stats, error) {
	r := s.containers()
	if r == nil {
		return wire.Stats{}, fmt.Errorf("%w: there is no pod yet", supervisor.ErrConflict)
	}
	containers := r.Usage() // first: the pod's counters then are no lower than the sum of theirs
	pod, err := usage.OfCgroup(filepath.Join(boot.CgroupRoot, podCgroup))
	if err != nil {
		return wire.Stats{}, err
	}
	interfaces, err := usage.OfInterfaces("/sys")
	if err != nil {
		return wire.Stats{}, err
	}
	scratch, err := usage.OfFilesystem(scratchDir)
	return wire.Stats{
		Time: time.Now(), Pod: pod, Containers: containers, Interfaces: interfaces, Scratch: scratch,
	}, err
}

// Log implements [server.Streams].
func (s *system) Log(container string, attempt int32) (*logfile.File, error) {
	s.mu.Lock()
	logs := s.logs
	s.mu.Unlock()
	if logs == nil {
		return nil, fmt.Errorf("%w: there is no pod yet", logfile.ErrNotFound)
	}
	return logs.Get(container, attempt)
}
