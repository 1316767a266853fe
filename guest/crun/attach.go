package crun

import (
	"io"
	"sync"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Session is a process that a host drives: one that Exec started, or a container that it is attached to. Its methods are
// safe for concurrent use.
type Session struct {
	streams  *streams
	stdin    io.Writer // nil where there is no input
	endInput func()
	done     chan struct{}
	exit     wire.Exit // set before done is closed
	leave    func()
}

// Write writes to the process's standard input. Without one, it takes everything.
func (s *Session) Write(b []byte) (int, error) {
	if s.stdin == nil {
		return len(b), nil
	}
	return s.stdin.Write(b)
}

// EndInput says that no more input comes.
func (s *Session) EndInput() { s.endInput() }

// Resize sets the terminal's size, where there is a terminal.
func (s *Session) Resize(size wire.TerminalSize) error { return s.streams.resize(size) }

// Done is closed when the process has ended and its output was passed on.
func (s *Session) Done() <-chan struct{} { return s.done }

// Exit is how the process ended. It blocks until it has.
func (s *Session) Exit() wire.Exit {
	<-s.done
	return s.exit
}

// Close says that the host has gone: a process that Exec started is killed, a container is left to itself.
func (s *Session) Close() { s.leave() }

// Attach copies the output of a running container from now on, and gives its input to the first who wants it.
func (r *Runtime) Attach(name string, a wire.Attach, stdout, stderr io.Writer) (*Session, error) {
	t, err := r.running(name)
	if err != nil {
		return nil, err
	}
	s := &Session{streams: t.streams, done: make(chan struct{}), endInput: func() {}}
	gone := make(chan struct{})
	s.leave = sync.OnceFunc(func() { close(gone) })
	if a.Stdin && t.takeStdin() {
		t.giveInput(s, gone)
	}
	if err := s.Resize(a.Size); err != nil {
		s.leave()
		return nil, err
	}
	var copies sync.WaitGroup
	copies.Go(func() { t.stdout.Attach(stdout, gone) })
	copies.Go(func() { t.stderr.Attach(stderr, gone) })
	// Ends with the container, or when the host has gone.
	go func() {
		copies.Wait()
		select {
		case <-t.done:
			s.exit.Code = t.result.ExitCode
		case <-gone:
		}
		close(s.done)
	}()
	return s, nil
}

// giveInput makes s the one whose input the container gets, until gone is closed.
func (t *task) giveInput(s *Session, gone <-chan struct{}) {
	if t.streams.tty != nil {
		s.stdin = t.streams.tty
	} else if t.streams.stdin != nil {
		s.stdin = t.streams.stdin
	}
	s.endInput = func() {
		if t.attempt.Container.StdinOnce {
			t.closeStdin()
		}
	}
	// Ends when the session or the container does.
	go func() {
		select {
		case <-gone:
		case <-t.done:
		}
		s.endInput()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.stdinTaken = false
	}()
}

func (t *task) takeStdin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stdinTaken || t.stdinOver || !t.attempt.Container.Stdin {
		return false
	}
	t.stdinTaken = true
	return true
}

// closeStdin ends the container's input for good. A terminal stays as it is.
func (t *task) closeStdin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stdinOver = true
	if t.streams.stdin != nil {
		_ = t.streams.stdin.Close() // a second time is no harm
	}
}
