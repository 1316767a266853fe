package vcenter

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

const (
	// quitTimeout is how long a QEMU gets to write back what it holds before it is killed.
	quitTimeout = 10 * time.Second
	// consoleBytes is what is kept of a serial port's output, complaintBytes of what QEMU itself says.
	consoleBytes   = 64 << 10
	complaintBytes = 4 << 10
)

// process is a QEMU that runs or ran.
type process struct {
	cmd     *exec.Cmd
	monitor *qmp.Client
	console *tail
	ended   chan struct{} // closed when QEMU is gone and what it had is released

	mu      sync.Mutex // guards deleted
	deleted map[string]chan struct{}
}

// spawn starts QEMU, and returns when it answers. It takes line over.
func spawn(ctx context.Context, binary string, line *commandLine) (*process, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		line.close()
		line.release()
		return nil, err
	}
	line.add("-chardev", fmt.Sprintf("socket,id=qmp,fd=%d", line.pass(theirs)), "-mon", "chardev=qmp,mode=control")
	p := &process{
		console: &tail{limit: consoleBytes}, ended: make(chan struct{}), deleted: map[string]chan struct{}{},
		cmd: exec.Command(binary, line.args...), //nolint:noctx // it outlives the call that starts it
	}
	complaint := &tail{limit: complaintBytes}
	p.cmd.Env, p.cmd.ExtraFiles, p.cmd.Stdout, p.cmd.Stderr = []string{}, line.files, p.console, complaint
	// QEMU ends with us, also when we are killed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	started := make(chan error)
	go p.run(started, line) // ends with QEMU
	err = <-started
	line.close()
	if err != nil {
		_ = ours.Close() // it has no other end
		return nil, fmt.Errorf("start %s: %w", binary, err)
	}
	// The connection ends with QEMU, and so does the wait for its greeting.
	if p.monitor, err = qmp.New(ctx, ours, p.onEvent); err != nil {
		_ = p.cmd.Process.Kill() // it may be gone
		<-p.ended
		return nil, fmt.Errorf("start %s: %w: %s", binary, err, strings.TrimSpace(string(complaint.bytes())))
	}
	return p, nil
}

// run starts QEMU and waits for its end, in the same thread: it is that thread whose death the kernel reports to QEMU.
func (p *process) run(started chan<- error, line *commandLine) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		_ = p.cmd.Wait() // how it ended makes no difference
	}
	line.release()
	close(p.ended)
}

// stop ends QEMU and returns when it is gone.
func (p *process) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), quitTimeout)
	defer cancel()
	_ = p.monitor.Execute(ctx, qmp.Command{Name: "quit"}, nil) // the end is what counts
	select {
	case <-p.ended:
	case <-ctx.Done():
		_ = p.cmd.Process.Kill() // it may be gone
		<-p.ended
	}
	p.monitor.Close()
}

// onEvent is called for all that QEMU says unasked.
func (p *process) onEvent(e qmp.Event) {
	if e.Name != "DEVICE_DELETED" {
		return
	}
	var data struct{ Device string }
	if json.Unmarshal(e.Data, &data) != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if gone := p.deleted[data.Device]; gone != nil {
		close(gone)
		delete(p.deleted, data.Device)
	}
}

// plug adds a disk.
func (p *process) plug(ctx context.Context, d disk) error {
	if err := p.monitor.Execute(ctx, qmp.Command{Name: "blockdev-add", Args: d.node()}, nil); err != nil {
		return err
	}
	if err := p.monitor.Execute(ctx, qmp.Command{Name: "device_add", Args: d.device()}, nil); err != nil {
		_ = p.monitor.Execute(ctx, qmp.Command{Name: "blockdev-del", Args: map[string]any{"node-name": d.id()}}, nil) // it is not in use
		return err
	}
	return nil
}

// unplug removes a disk.
func (p *process) unplug(ctx context.Context, d disk) error {
	gone := make(chan struct{})
	p.mu.Lock()
	p.deleted[d.id()] = gone
	p.mu.Unlock()
	if err := p.monitor.Execute(ctx, qmp.Command{Name: "device_del", Args: map[string]any{"id": d.id()}}, nil); err != nil {
		return err
	}
	select {
	case <-gone:
	case <-ctx.Done():
		return fmt.Errorf("await the end of %s: %w", d.id(), context.Cause(ctx))
	}
	return p.monitor.Execute(ctx, qmp.Command{Name: "blockdev-del", Args: map[string]any{"node-name": d.id()}}, nil)
}

// socketPair returns two connected sockets.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a socket for QMP: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "qmp")
	f := os.NewFile(uintptr(fds[0]), "qmp")
	conn, err := net.FileConn(f) // has a descriptor of its own
	_ = f.Close()                // it was not used
	if err != nil {
		_ = theirs.Close() // as above
		return nil, nil, fmt.Errorf("make a socket for QMP: %w", err)
	}
	return conn.(*net.UnixConn), theirs, nil
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int

	mu   sync.Mutex // guards kept
	kept []byte
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.limit; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]byte(nil), t.kept...)
}
