package crun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/process"
	"github.com/virtual-kubelet/vic/guest/stdio"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// The exit codes of a shell for a program that it can't run.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// Running reports whether Exec and Attach find the container's process, and that there is room for one more process.
func (r *Runtime) Running(name string) error {
	_, err := r.running(name)
	return err
}

// Exec starts another process in a running container.
func (r *Runtime) Exec(ctx context.Context, name string, e wire.Exec, stdout, stderr io.Writer) (*Session, error) {
	t, err := r.running(name)
	if err != nil {
		return nil, err
	}
	select {
	case r.execs <- struct{}{}:
	default:
		return nil, ErrBusy
	}
	s, err := r.exec(ctx, t, e, sinks{stdout, stderr}, func() { <-r.execs })
	if err != nil {
		<-r.execs
	}
	return s, err
}

// sinks take a process's output.
type sinks struct{ stdout, stderr io.Writer }

// exec starts a process in a container, and calls ended when it has ended.
func (r *Runtime) exec(ctx context.Context, t *task, e wire.Exec, to sinks, ended func()) (*Session, error) {
	st, dir, err := r.startExec(ctx, t, e)
	if err != nil {
		return nil, err
	}
	s := &Session{streams: st, done: make(chan struct{}), write: discard, endInput: func() {}}
	if input := st.input(); input != nil {
		s.write = input.Write
	}
	if st.stdin != nil {
		s.endInput = sync.OnceFunc(func() { _ = st.stdin.Close() }) // pipes have nothing to write back
	}
	s.leave = sync.OnceFunc(func() { _ = st.process.Signal(syscall.SIGKILL) }) // it may have ended
	var copies sync.WaitGroup
	if st.tty != nil {
		copies.Go(func() { stdio.Copy(to.stdout, st.tty, st.process.Done()) })
	} else {
		copies.Go(func() { stdio.Copy(to.stdout, st.stdout, st.process.Done()) })
		copies.Go(func() { stdio.Copy(to.stderr, st.stderr, st.process.Done()) })
	}
	// Ends with the process, which ends at the latest with its container.
	go func() {
		s.exit.Code = process.ExitCode(st.process.Status())
		copies.Wait()
		st.close()
		_ = os.RemoveAll(dir) // in memory, and a few bytes
		ended()
		close(s.done)
	}()
	return s, nil
}

func (r *Runtime) startExec(ctx context.Context, t *task, e wire.Exec) (_ *streams, dir string, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), startTimeout)
	defer cancel()
	if dir, err = os.MkdirTemp(r.c.Run, ".exec-"); err != nil {
		return nil, "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	spec, err := oci.ExecProcess(t.attempt.Container, t.bundle.user, r.c.Hostname, e)
	if err != nil {
		return nil, "", err
	}
	b, err := json.Marshal(spec)
	if err != nil {
		return nil, "", err
	}
	file := filepath.Join(dir, "process.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		return nil, "", err
	}
	release := r.c.Reaper.Hold()
	defer release()
	st, err := r.launch(ctx, launch{
		dir: dir, id: t.attempt.ID, tty: e.TTY, stdin: e.Stdin,
		args: []string{"exec", "--detach", "--process", file},
	})
	if refused, ok := errors.AsType[*runtimeError](err); ok {
		err = &execError{e.Args[0], refused}
	}
	return st, dir, err
}

// FailedExit is what a host gets when Exec has failed with err.
func FailedExit(err error) wire.Exit {
	code := int32(codeNotExecutable)
	var e *execError
	if errors.As(err, &e) && e.missing() {
		code = codeNotFound
	}
	return wire.Exit{Code: code, Error: err.Error()}
}

// execError is crun's refusal to run a command, in the words of runc, which users know from other nodes.
type execError struct {
	command string
	*runtimeError
}

func (e *execError) Error() string {
	return fmt.Sprintf("OCI runtime exec failed: exec failed: unable to start container process: exec: %q: %s", e.command, e.reason())
}

func (e *execError) missing() bool {
	return strings.Contains(e.message, "not found") || strings.Contains(e.message, "No such file")
}

func (e *execError) reason() string {
	switch {
	case e.missing() && strings.Contains(e.command, "/"):
		return "stat " + e.command + ": no such file or directory"
	case e.missing():
		return "executable file not found in $PATH"
	case strings.Contains(e.message, "ermission denied"), strings.Contains(e.message, "not permitted"):
		return "permission denied"
	}
	return e.message
}
