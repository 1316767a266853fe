package process

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrNoChild says that a pid is not a child of this process.
var ErrNoChild = errors.New("no such child process")

// Reaper waits for every child of this process. There is one in a program.
type Reaper struct {
	mu      sync.Mutex // guards all below, and the moment between a fork and its entry in running
	running map[int]*Process
	held    map[int]syscall.WaitStatus // statuses of unknown children while holds > 0
	holds   int
}

// Process is one child.
type Process struct {
	reaper *Reaper
	pid    int
	done   chan struct{}
	status syscall.WaitStatus // set before done is closed
}

// NewReaper returns a Reaper that reaps as long as the program runs. It makes this process the one that inherits
// orphans, as PID 1 is anyway.
func NewReaper() (*Reaper, error) {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("inherit orphans: %w", err)
	}
	r := &Reaper{running: map[int]*Process{}, held: map[int]syscall.WaitStatus{}}
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	// Ends with the program. One signal may stand for many children: reap takes all that there are.
	go func() {
		for range children {
			r.reap()
		}
	}()
	return r, nil
}

func (r *Reaper) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil || pid <= 0:
			return
		}
		if p, ok := r.running[pid]; ok {
			delete(r.running, pid)
			p.finish(status)
		} else if r.holds > 0 {
			r.held[pid] = status
		}
	}
}

func (p *Process) finish(status syscall.WaitStatus) {
	p.status = status
	close(p.done)
}

// Spec says what to start.
type Spec struct {
	// Args begins with the program's path.
	Args []string
	// Env is the whole environment.
	Env []string
	// Files become descriptors 0, 1, 2 and on; a nil one is the null device.
	Files []*os.File
}

// Start starts a process.
func (r *Reaper) Start(s Spec) (*Process, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	files := make([]uintptr, max(3, len(s.Files)))
	for i := range files {
		files[i] = null.Fd()
		if i < len(s.Files) && s.Files[i] != nil {
			files[i] = s.Files[i].Fd() // this makes it blocking, as programs expect
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(s.Args[0], s.Args, &syscall.ProcAttr{Env: s.Env, Files: files})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", s.Args[0], err)
	}
	return r.registerLocked(pid), nil
}

func (r *Reaper) registerLocked(pid int) *Process {
	p := &Process{reaper: r, pid: pid, done: make(chan struct{})}
	r.running[pid] = p
	return p
}

// Hold keeps the statuses of children that are not known, until release is called as often as Hold was.
func (r *Reaper) Hold() (release func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holds++
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.holds--; r.holds == 0 {
			clear(r.held)
		}
	})
}

// Adopt makes the child pid, which this process inherited, a Process. Where a Hold was in force since pid was made, its
// status is not lost even if it has ended. ErrNoChild says that pid is not ours.
func (r *Reaper) Adopt(pid int) (*Process, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if status, ok := r.held[pid]; ok {
		delete(r.held, pid)
		p := &Process{reaper: r, pid: pid, done: make(chan struct{})}
		p.finish(status)
		return p, nil
	}
	if p, ok := r.running[pid]; ok {
		return p, nil
	}
	var info unix.Siginfo
	if err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil); err != nil {
		return nil, fmt.Errorf("adopt process %d: %w", pid, ErrNoChild)
	}
	return r.registerLocked(pid), nil
}

// Pid is the process's id.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Status is how the process ended. It blocks until it has.
func (p *Process) Status() syscall.WaitStatus {
	<-p.done
	return p.status
}

// Signal sends sig. It never reaches another process that got the same pid; one that has ended is not an error.
func (p *Process) Signal(sig syscall.Signal) error {
	p.reaper.mu.Lock()
	defer p.reaper.mu.Unlock()
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := syscall.Kill(p.pid, sig); err != nil {
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	}
	return nil
}

// ExitCode is a status as a shell has it: 128 and the signal's number for a process that a signal ended.
func ExitCode(s syscall.WaitStatus) int32 {
	if s.Signaled() {
		return 128 + int32(s.Signal())
	}
	return int32(s.ExitStatus())
}
