package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/ownthread"
)

const (
	// maxComplaint bounds what is kept of QEMU's standard error.
	maxComplaint = 4 << 10
	// connectStep is how often a new QEMU is tried until it listens.
	connectStep = 5 * time.Millisecond
)

// confinement is how a QEMU differs from us.
type confinement struct {
	// owner is the user and group that QEMU runs as; 0 leaves it ours.
	owner uint32
	// groups are the supplementary groups of that user: none, or the one that may open the KVM device.
	groups []uint32
	// namespaces are those that QEMU does not share with us (CLONE_NEWNET and so on). Mounts of its own are private copies
	// of ours until emptyRoot takes them away.
	namespaces int
}

// forbidCores forbids core files to us and so to every QEMU that we start: they would hold guests' memory, and our
// secrets. It can't be taken back.
func forbidCores() error {
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	return nil
}

// spawn starts QEMU in a session of its own, with nothing of ours but the files in cmd, which it takes over.
func spawn(binary string, line *commandLine, conf confinement) (*exec.Cmd, *complaint, error) {
	defer line.close()
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	//nolint:noctx // QEMU is to outlive every context of ours.
	cmd := exec.Command(binary, line.args...)
	cmd.Dir, cmd.Env = "/", []string{}
	cmd.ExtraFiles, cmd.Stderr = line.files, w
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if conf.owner != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: conf.owner, Gid: conf.owner, Groups: conf.groups}
	}
	err = inNamespaces(conf.namespaces, cmd.Start)
	_ = w.Close() // the child has its own
	if err != nil {
		_ = r.Close() // nothing was written
		return nil, nil, fmt.Errorf("start %s: %w", binary, err)
	}
	return cmd, listen(r), nil
}

// inNamespaces runs start, which starts a process, in new namespaces. They are made before the process is: until it runs its program
// it has our files open, and with them our locks.
func inNamespaces(kinds int, start func() error) error {
	if kinds == 0 {
		return start()
	}
	return ownthread.Run(func() error {
		if err := unix.Unshare(kinds); err != nil {
			return fmt.Errorf("make namespaces: %w", err)
		}
		if kinds&unix.CLONE_NEWNS != 0 {
			// What is mounted on one side would else be mounted on the other too.
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return fmt.Errorf("make mounts private: %w", err)
			}
		}
		return start()
	})
}

// complaint is the end of what a QEMU writes to its standard error while we run. After us it writes into the void.
type complaint struct {
	done chan struct{} // closed at the end of file

	mu   sync.Mutex // guards tail
	tail []byte
}

// listen reads r until its other end is closed, which QEMU's death does.
func listen(r *os.File) *complaint {
	c := &complaint{done: make(chan struct{})}
	go func() { // ends with QEMU
		defer close(c.done)
		defer r.Close()
		_, _ = io.Copy(c, r) // what was read until then counts
	}()
	return c
}

// Write keeps the last maxComplaint bytes.
func (c *complaint) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tail = append(c.tail, p...)
	if over := len(c.tail) - maxComplaint; over > 0 {
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
	return len(p), nil
}

// reason is QEMU's last words as one line, without its name.
func (c *complaint) reason() string {
	select {
	case <-c.done:
	case <-time.After(time.Second): // somebody else holds the pipe; what is there must do
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var words []string
	for line := range strings.Lines(string(c.tail)) {
		line = strings.TrimSpace(line)
		if name, rest, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(name, "qemu") {
			line = rest
		}
		if line != "" && !strings.Contains(line, "warning: ") {
			words = append(words, line)
		}
	}
	return printable(strings.Join(words, "; "), maxComplaint)
}

// awaitSocket connects to a QEMU that is starting, until ended is closed or ctx ends.
func awaitSocket[T any](ctx context.Context, ended <-chan struct{}, connect func() (T, error)) (T, error) {
	ticker := time.NewTicker(connectStep)
	defer ticker.Stop()
	for {
		conn, err := connect()
		if err == nil || !errors.Is(err, unix.ECONNREFUSED) {
			return conn, err
		}
		var none T
		select {
		case <-ticker.C:
		case <-ended:
			return none, errEnded
		case <-ctx.Done():
			return none, context.Cause(ctx)
		}
	}
}

// errEnded says that QEMU ended where it should have answered.
var errEnded = errors.New("QEMU ended")

// printable makes what a guest or QEMU wrote fit for a log or an event.
func printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) || r == utf8.RuneError {
			return -1
		}
		return r
	}, s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
