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

// machine is the pod VM. It implements what package server needs, and hands a pod's containers to the runtime that
// Configure made.
type machine struct {
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

// Hello implements [server.Machine].
func (m *machine) Hello() (wire.Hello, error) {
	kernel, err := boot.Kernel()
	if err != nil {
		return wire.Hello{}, err
	}
	memory, err := boot.MemoryBytes()
	if err != nil {
		return wire.Hello{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return wire.Hello{
		BootID: m.supervisor.BootID(), Version: m.version, Kernel: kernel, Configured: m.pod != nil,
		MemoryBytes: memory, CPUs: runtime.NumCPU(), Time: time.Now(),
	}, nil
}

// SetClock implements [server.Machine].
func (m *machine) SetClock(t time.Time) error {
	if err := boot.SetClock(t); err != nil {
		return err
	}
	m.supervisor.ClockSet()
	return nil
}

// PutFiles implements [server.Machine].
func (m *machine) PutFiles(f wire.Files) error {
	m.mu.Lock()
	volumes, configured := m.volumes, m.pod != nil
	m.mu.Unlock()
	if !configured {
		return fmt.Errorf("%w: there is no pod yet", supervisor.ErrConflict)
	}
	return volumes.Put(f)
}

// PowerOff implements [server.Machine].
func (m *machine) PowerOff(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.poweredOff {
		return
	}
	m.poweredOff = true
	// Ends with the machine.
	go m.powerOff(ctx)
}

func (m *machine) powerOff(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	applied := m.applied(ctx)
	m.supervisor.Stop(wire.Stop{})
	err := m.supervisor.Done(ctx)
	if r := m.containers(); err == nil && r != nil {
		err = r.Close(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.logs != nil {
		_ = m.logs.Close() // what was written is in the page cache, which PowerOff writes back
	}
	if applied && m.steps.volumes != nil {
		err = errors.Join(err, m.steps.volumes.Close()) // what stays mounted is as the scratch disk then
	}
	// Not mounted before a pod is there, and busy where something was left behind: the kernel then writes back, and replays
	// the journal at the next boot.
	_ = unix.Unmount(scratchDir, 0)
	logging.From(ctx).InfoContext(ctx, "machine powered off", "err", err)
	if err := boot.PowerOff(); err != nil {
		logging.From(ctx).ErrorContext(ctx, "machine did not power off", "err", err)
	}
}

// applied waits for what is being configured, since half a file system is none. Nothing is configured from then on, and
// steps are the caller's.
func (m *machine) applied(ctx context.Context) bool {
	done := make(chan struct{})
	// Ends when what is being configured does, or with the machine.
	go func() {
		m.applying.Lock()
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
func (m *machine) containers() *crun.Runtime {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.runtime
}

// Start implements [supervisor.Runtime].
func (m *machine) Start(ctx context.Context, a supervisor.Attempt) (supervisor.Task, error) {
	return m.containers().Start(ctx, a) // there is one before the supervisor has containers
}

// Running implements [server.Streams].
func (m *machine) Running(container string) error {
	r := m.containers()
	if r == nil {
		return crun.ErrNotRunning
	}
	return r.Running(container)
}

// Exec implements [server.Streams].
func (m *machine) Exec(
	ctx context.Context, container string, e wire.Exec, stdout, stderr io.Writer,
) (server.Session, error) {
	s, err := m.containers().Exec(ctx, container, e, stdout, stderr) // Running came before
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Attach implements [server.Streams].
func (m *machine) Attach(container string, a wire.Attach, stdout, stderr io.Writer) (server.Session, error) {
	s, err := m.containers().Attach(container, a, stdout, stderr) // Running came before
	if err != nil {
		return nil, err
	}
	return s, nil
}

// Stats implements [server.Usage].
func (m *machine) Stats() (wire.Stats, error) {
	r := m.containers()
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
func (m *machine) Log(container string, attempt int32) (*logfile.File, error) {
	m.mu.Lock()
	logs := m.logs
	m.mu.Unlock()
	if logs == nil {
		return nil, fmt.Errorf("%w: there is no pod yet", logfile.ErrNotFound)
	}
	return logs.Get(container, attempt)
}
