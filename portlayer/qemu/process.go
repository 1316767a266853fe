package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

const (
	// quitTimeout is how long a QEMU gets to quit before it is killed.
	quitTimeout = 5 * time.Second
	// tendInterval is how often a running VM is looked after: its console read, a pause for want of space ended.
	tendInterval = time.Second
	// roomToResume is how much space the VCH must have before a VM that paused for want of it goes on.
	roomToResume = 64 * mib
)

// process is one QEMU that runs, ours or adopted.
type process struct {
	pid    int
	pidfd  *os.File
	groups []string   // its control groups
	child  *exec.Cmd  // nil where we adopted it: then it is somebody else's to reap
	words  *complaint // nil where we adopted it

	released chan struct{} // closed when we let go of it, dead or alive
	ended    chan struct{} // closed when the process is gone and reaped

	// halted gets one token when the guest stopped executing for good: powered off, rebooted, or panicked.
	halted chan struct{}

	reapOnce    sync.Once // guards reap
	releaseOnce sync.Once // guards letGo

	mu        sync.Mutex  // guards what follows
	client    *qmp.Client // nil until QEMU has answered
	cause     string      // why the guest halted, as QEMU or its guest said
	commanded bool        // we want it to end
	killed    bool        // SIGKILL was sent: whenever it ends, that is why
	paused    bool        // for want of space
	deleted   map[string]chan struct{}
	status    string // how the process ended
}

// newProcess watches over pid, which can't be reaped meanwhile: it is our child, or holds the socket we talk to.
func newProcess(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	return &process{
		pid: pid, pidfd: os.NewFile(uintptr(fd), "pidfd"), released: make(chan struct{}), ended: make(chan struct{}),
		halted: make(chan struct{}, 1), deleted: map[string]chan struct{}{},
	}, nil
}

// await closes p.ended when the process has ended. It ends when the process does, or when release closes the descriptor.
func (p *process) await() {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return
	}
	gone := false
	err = raw.Read(func(fd uintptr) bool {
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(poll, 0)
		gone = err == nil && n == 1
		return gone
	})
	if err != nil || !gone {
		return
	}
	p.reapOnce.Do(p.reap)
	close(p.ended)
}

// reap takes a child's exit status, so that no zombie stays.
func (p *process) reap() {
	status := "QEMU ended"
	if p.child != nil {
		_ = p.child.Wait() // what it ended with is in ProcessState
		if ws, ok := p.child.ProcessState.Sys().(syscall.WaitStatus); ok {
			switch {
			case ws.Signaled():
				status = fmt.Sprintf("QEMU was killed by signal %d (%s)", ws.Signal(), ws.Signal())
			case ws.ExitStatus() != 0:
				status = fmt.Sprintf("QEMU ended with code %d", ws.ExitStatus())
			}
		}
		if words := p.words.reason(); words != "" {
			status += ": " + words
		}
	}
	p.mu.Lock()
	p.status = status
	p.mu.Unlock()
}

// stopReason says why the VM stopped; empty when we wanted it.
func (p *process) stopReason() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.commanded && p.cause == "":
		return ""
	case p.cause != "":
		return p.cause
	}
	return p.status
}

// onEvent notes what QEMU says. It does not block.
func (p *process) onEvent(e qmp.Event) {
	var data struct {
		Device, Reason, Action, Path string
		Guest                        bool
		Nospace                      bool
	}
	if len(e.Data) > 0 && json.Unmarshal(e.Data, &data) != nil {
		return
	}
	switch e.Name {
	case "SHUTDOWN":
		switch {
		case data.Guest:
			p.halt(shutdownReason(data.Reason))
		case data.Reason == "host-qmp-quit":
			p.command() // it obeys, though perhaps long after it was asked
		}
	case "GUEST_PANICKED":
		p.halt("the guest's kernel panicked")
	case "BLOCK_IO_ERROR":
		if data.Nospace && data.Action == "stop" {
			p.setPaused(true)
		}
	case "RESUME":
		p.setPaused(false)
	case "DEVICE_DELETED":
		p.mu.Lock()
		if waiter, ok := p.deleted[data.Device]; ok {
			delete(p.deleted, data.Device)
			close(waiter)
		}
		p.mu.Unlock()
	}
}

func shutdownReason(reason string) string {
	switch reason {
	case "guest-shutdown":
		return "the guest powered off"
	case "guest-reset":
		return "the guest rebooted"
	case "guest-panic":
		return "the guest's kernel panicked"
	}
	return "the guest stopped: " + printable(reason, 100)
}

// halt notes the first cause and wakes whoever tends the VM.
func (p *process) halt(cause string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == "" && !p.commanded {
		p.cause = cause
	}
	select {
	case p.halted <- struct{}{}:
	default:
	}
}

// explain makes the kernel's own words the cause, where the console ends with a panic.
func (p *process) explain(console []byte) {
	const marker = "Kernel panic - not syncing: "
	_, words, found := strings.Cut(string(console), marker)
	if !found {
		return
	}
	words, _, _ = strings.Cut(words, "\n")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause != "" {
		p.cause = "the guest's kernel panicked: " + printable(words, 200)
	}
}

func (p *process) setPaused(paused bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = paused
}

func (p *process) isPaused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused
}

// awaitDeletion returns a channel that is closed when QEMU has taken the device out.
func (p *process) awaitDeletion(device string) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	waiter, ok := p.deleted[device]
	if !ok {
		waiter = make(chan struct{})
		p.deleted[device] = waiter
	}
	return waiter
}

// end makes the process go: politely at first, by SIGKILL after quitTimeout, and waits until it is gone.
func (p *process) end(ctx context.Context) error {
	if control := p.control(); control != nil {
		quit, cancel := context.WithTimeout(ctx, quitTimeout)
		defer cancel()
		// A refusal and a lost connection both leave the process to be killed below, unless it is gone already.
		_ = control.Execute(quit, qmp.Command{Name: "quit"}, nil)
		select {
		case <-p.ended:
			return nil
		case <-quit.Done():
		}
	}
	return p.kill(ctx)
}

// kill ends the process at once and waits until it is gone.
func (p *process) kill(ctx context.Context) error {
	if err := p.signal(unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill QEMU: %w", err)
	}
	p.mu.Lock()
	p.killed = true
	p.mu.Unlock()
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (p *process) signal(sig unix.Signal) error {
	raw, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) })
	return errors.Join(err, sent)
}

// command marks the end of the process as ours.
func (p *process) command() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commanded = true
}

// takeBack undoes command where the process may go on, so that a later end has its true reason.
func (p *process) takeBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.commanded = p.killed
}

// abandon clears away what there was of a process that is gone before it counted.
func (p *process) abandon(ctx context.Context, uid string) {
	cgroup.Release(ctx, uid, p.groups)
	p.release()
}

// release lets go of the process without ending it. A second call does nothing.
func (p *process) release() {
	p.releaseOnce.Do(p.letGo)
}

func (p *process) letGo() {
	p.mu.Lock()
	close(p.released)
	client := p.client
	p.mu.Unlock()
	if p.child != nil {
		go p.reapOnce.Do(p.reap) // ends with QEMU: also who lets go of a child owes it a wait
	}
	if client != nil {
		client.Close()
	}
	_ = p.pidfd.Close() // ends await
}
