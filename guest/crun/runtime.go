package crun

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/virtual-kubelet/vic/guest/logfile"
	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/process"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/volume"
)

// Errors that a host acts on.
var (
	// ErrNotRunning says that a container does not run now.
	ErrNotRunning = errors.New("container is not running")
	// ErrBusy says that too much runs already.
	ErrBusy = errors.New("too many processes")
)

const (
	program = "/bin/crun"
	// startTimeout bounds crun; it is long because a VM may be emulated on a busy host.
	startTimeout = 2 * time.Minute
	maxExecs     = 64
)

// Images mounts image disks.
type Images interface {
	// Mount waits for the disk with the serial number and returns where it is mounted.
	Mount(ctx context.Context, serial string) (string, error)
}

// Config is what a Runtime works with.
type Config struct {
	Reaper  *process.Reaper
	Images  Images
	Volumes *volume.Set
	Logs    *logfile.Store
	// Run is a directory in memory, Layers one on the scratch disk.
	Run, Layers string
	// CgroupRoot is where cgroup v2 is mounted, Cgroup the pod's cgroup below it.
	CgroupRoot, Cgroup string
	Hostname           string
	// FSGroup is a group that every process is in.
	FSGroup *int64
	// ShareProcesses puts all containers into one process namespace. Program is the guest's own program, which is process
	// 1 there under the name of process.PauseProgram.
	ShareProcesses bool
	Program        string
	// Binds are files of the pod that every container has, where it has no mount of its own there.
	Binds []oci.Bind
}

// Runtime starts containers. It is safe for concurrent use.
type Runtime struct {
	c        Config
	program  *os.File      // crun; its name runs it
	execs    chan struct{} // holds a token for each process that Exec started
	commands chan struct{} // and one for each that a probe or hook started
	sandbox  sandbox

	mu    sync.Mutex // guards tasks
	tasks map[string]*task
}

// New returns a Runtime.
func New(c Config) (*Runtime, error) {
	sealed, err := seal(program)
	if err != nil {
		return nil, err
	}
	return &Runtime{
		c: c, program: sealed, execs: make(chan struct{}, maxExecs), commands: make(chan struct{}, maxCommands), tasks: map[string]*task{},
	}, nil
}

// Start implements [supervisor.Runtime].
func (r *Runtime) Start(ctx context.Context, a supervisor.Attempt) (supervisor.Task, error) {
	if err := r.awaitCleanup(ctx, a.Container.Name); err != nil {
		return nil, err
	}
	b, err := r.prepare(ctx, a)
	if err != nil {
		return nil, err
	}
	// A container that is half started is brought to one end or the other.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	t, err := r.start(ctx, a, b)
	if err != nil {
		return nil, errors.Join(err, b.remove())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tasks[a.Container.Name] = t
	return t, nil
}

// awaitCleanup waits until nothing is left of the attempt before.
func (r *Runtime) awaitCleanup(ctx context.Context, name string) error {
	r.mu.Lock()
	former := r.tasks[name]
	r.mu.Unlock()
	if former == nil {
		return nil
	}
	select {
	case <-former.cleaned:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// start creates the container, learns its process, and only then lets it run: no exit status can be missed.
func (r *Runtime) start(ctx context.Context, a supervisor.Attempt, b *bundle) (*task, error) {
	log, err := r.c.Logs.Create(a.Container.Name, a.Number)
	if err != nil {
		return nil, err
	}
	release := r.c.Reaper.Hold()
	defer release()
	s, err := r.create(ctx, a, b)
	if err != nil {
		log.End()
		return nil, err
	}
	t := r.newTask(context.WithoutCancel(ctx), a, b, log, s)
	if err := r.letRun(ctx, b, a.ID); err != nil {
		_ = r.crun(ctx, b.dir, "delete", "--force", a.ID) // start's error is the one that matters
		t.abandon()
		return nil, err
	}
	// Ends with the container's process.
	go t.watch(context.WithoutCancel(ctx))
	return t, nil
}

// letRun starts what was created, unless the namespace that it was to join has ended: its process's id may have been
// another one's meanwhile.
func (r *Runtime) letRun(ctx context.Context, b *bundle, id string) error {
	if b.joined != nil && ended(b.joined) {
		return fmt.Errorf("join a process namespace: %w", ErrNotRunning)
	}
	return r.crun(ctx, b.dir, "start", id)
}

// create runs "crun create" with the container's streams.
func (r *Runtime) create(ctx context.Context, a supervisor.Attempt, b *bundle) (*streams, error) {
	args := []string{"create", "--bundle", b.dir}
	s, err := r.launch(ctx, launch{
		dir: b.dir, id: a.ID, args: args, tty: a.Container.TTY, stdin: a.Container.Stdin,
	})
	if err != nil {
		// The failed container may have left its cgroup.
		_ = r.crun(ctx, b.dir, "delete", "--force", a.ID)
		return nil, err
	}
	return s, nil
}

// bundle is a container's place in the guest.
type bundle struct {
	dir     string // in memory
	rootfs  string // the mounted root, in dir
	message string // the file with the termination message
	layer   string // the writable layer on the scratch disk
	user    specs.User
	joined  *process.Process // whose process namespace it is in; nil is one of its own
}

func (r *Runtime) cgroup(container string) string { return filepath.Join(r.c.Cgroup, container) }

// running returns the container's task while its process runs.
func (r *Runtime) running(name string) (*task, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t, ok := r.tasks[name]
	if !ok {
		return nil, fmt.Errorf("%w: %q", ErrNotRunning, name)
	}
	if ended(t.streams.process) {
		return nil, fmt.Errorf("%w: %q", ErrNotRunning, name)
	}
	return t, nil
}

// Close waits for what is left to clean up, so that the scratch disk can be unmounted.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.tasks {
		select {
		case <-t.cleaned:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

var _ supervisor.Runtime = (*Runtime)(nil)

// writeMessageFile makes an empty file that any user of the container can write.
func writeMessageFile(path string) error {
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		return err
	}
	return os.Chmod(path, 0o666) // the container's user is not known to be root
}
