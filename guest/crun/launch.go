package crun

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/process"
	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	maxMessage = 1024 // of crun
	adoptAgain = 2 * time.Millisecond
)

// launch says how crun is to start a process of a container.
type launch struct {
	dir   string // for files of this process alone
	id    string
	args  []string // the subcommand and its options
	tty   bool
	stdin bool
}

// streams are a started process and our ends of its streams. With a terminal there is only that, for input and output.
type streams struct {
	process        *process.Process
	tty            *os.File
	stdin          *os.File // nil where there is no input
	stdout, stderr *os.File
}

// crun runs a subcommand to its end.
func (r *Runtime) crun(ctx context.Context, dir string, args ...string) error {
	log := filepath.Join(dir, "crun.log")
	_ = os.Remove(log) // of the call before
	out, err := r.c.Reaper.Run(ctx, process.Spec{Args: r.command(log, args), Env: environment})
	if err == nil {
		return nil
	}
	return explain(log, out, err)
}

var environment = []string{"PATH=/bin"}

func (r *Runtime) command(log string, args []string) []string {
	return append([]string{
		r.program.Name(), "--root", "/run/crun", "--cgroup-manager", "cgroupfs", "--log", log, "--log-format", "json",
	}, args...)
}

// launch runs crun with new streams and adopts the process that it leaves. The caller holds the reaper.
func (r *Runtime) launch(ctx context.Context, l launch) (*streams, error) {
	s := &streams{}
	theirs, console, err := s.open(l)
	defer closeAll(theirs...)
	if err == nil {
		err = r.runLaunch(ctx, l, s, theirs, console)
	}
	if console != nil {
		_ = console.Close() // removes its socket; nothing was written to it
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// open makes the streams: pipes, whose other ends it returns, or a socket where crun delivers a terminal.
func (s *streams) open(l launch) (theirs []*os.File, console *net.UnixListener, err error) {
	if l.tty {
		path := filepath.Join(l.dir, "tty")
		_ = os.Remove(path) // of an attempt that was killed
		console, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		return nil, console, err
	}
	theirs = make([]*os.File, 3)
	if l.stdin {
		if theirs[0], s.stdin, err = os.Pipe(); err != nil {
			return theirs, nil, err
		}
	}
	if s.stdout, theirs[1], err = os.Pipe(); err != nil {
		return theirs, nil, err
	}
	s.stderr, theirs[2], err = os.Pipe()
	return theirs, nil, err
}

func (r *Runtime) runLaunch(ctx context.Context, l launch, s *streams, theirs []*os.File, console *net.UnixListener) error {
	log, pidFile := filepath.Join(l.dir, "crun.log"), filepath.Join(l.dir, "pid")
	_ = os.Remove(log) // of the call before
	args := append(slices.Clone(l.args), "--pid-file", pidFile)
	if console != nil {
		args = append(args, "--console-socket", console.Addr().String())
	}
	p, err := r.c.Reaper.Start(process.Spec{Args: r.command(log, append(args, l.id)), Env: environment, Files: theirs})
	if err != nil {
		return err
	}
	if console != nil {
		if s.tty, err = receiveTerminal(console, p.Done()); err != nil {
			_ = p.Signal(unix.SIGKILL) // it may have ended
			<-p.Done()
			return explain(log, "", err)
		}
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		_ = p.Signal(unix.SIGKILL) // it may have ended
		<-p.Done()
	}
	if code := process.ExitCode(p.Status()); code != 0 {
		return explain(log, "", errors.Join(ctx.Err(), fmt.Errorf("crun ended with code %d", code)))
	}
	s.process, err = r.adopt(ctx, pidFile)
	return err
}

// adopt makes the process that crun has left ours. It may still be a child of crun's own second process, which ends soon.
func (r *Runtime) adopt(ctx context.Context, pidFile string) (*process.Process, error) {
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return nil, fmt.Errorf("read pid: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return nil, fmt.Errorf("read pid: %w", err)
	}
	again := time.NewTicker(adoptAgain)
	defer again.Stop()
	for {
		p, err := r.c.Reaper.Adopt(pid)
		if err == nil {
			return p, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), err)
		}
	}
}

// receiveTerminal waits for the terminal that crun sends, until crun has ended.
func receiveTerminal(l *net.UnixListener, ended <-chan struct{}) (*os.File, error) {
	received := make(chan struct{})
	defer close(received)
	// Ends when the terminal is there, or soon after crun has ended.
	go func() {
		select {
		case <-ended:
			_ = l.SetDeadline(time.Now().Add(time.Second)) // only a closed listener refuses
		case <-received:
		}
	}()
	conn, err := l.AcceptUnix()
	if err != nil {
		return nil, fmt.Errorf("wait for the terminal: %w", err)
	}
	defer conn.Close()
	oob := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(make([]byte, 256), oob)
	if err != nil {
		return nil, fmt.Errorf("receive the terminal: %w", err)
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("receive the terminal: no descriptor came")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return nil, errors.New("receive the terminal: no descriptor came")
	}
	unix.CloseOnExec(fds[0])
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fds[0]), "terminal"), nil
}

// input is what the process reads, or nil.
func (s *streams) input() *os.File {
	if s.tty != nil {
		return s.tty
	}
	return s.stdin
}

func (s *streams) close() { closeAll(s.tty, s.stdin, s.stdout, s.stderr) }

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close() // pipes and terminals have nothing to write back
		}
	}
}

// resize gives the terminal its size.
func (s *streams) resize(size wire.TerminalSize) error {
	if s.tty == nil || size.Columns == 0 || size.Rows == 0 {
		return nil
	}
	conn, err := s.tty.SyscallConn()
	if err != nil {
		return err
	}
	var ioctlErr error
	err = conn.Control(func(fd uintptr) {
		ioctlErr = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Col: size.Columns, Row: size.Rows})
	})
	return errors.Join(err, ioctlErr)
}

// runtimeError is crun's own explanation of a failure.
type runtimeError struct {
	message string
	cause   error
}

func (e *runtimeError) Error() string { return e.message }
func (e *runtimeError) Unwrap() error { return e.cause }

// explain returns what crun wrote to its log, and err where it wrote nothing.
func explain(log, output string, err error) error {
	b, readErr := os.ReadFile(log)
	if readErr != nil {
		b = nil
	}
	message := ""
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		var line struct{ Msg, Level string }
		if json.Unmarshal(s.Bytes(), &line) == nil && line.Msg != "" {
			message = line.Msg
		}
	}
	if message == "" {
		message = strings.TrimSpace(output)
	}
	if message == "" {
		return err
	}
	return &runtimeError{message: message[:min(len(message), maxMessage)], cause: err}
}
