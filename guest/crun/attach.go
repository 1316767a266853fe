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
	write    func([]byte) (int, error)
	endInput func()
	leave    func()
	done     chan struct{}
	exit     wire.Exit // set before done is closed
}

// Write writes to the process's standard input. Without one, it takes everything.
func (s *Session) Write(b []byte) (int, error) { return s.write(b) }

// EndInput says that no more input comes.
func (s *Session) EndInput() { s.endInput() }

// Resize sets the terminal's size, where there is a terminal.
func (s *Session) Resize(size wire.TerminalSize) error { return s.streams.resize(size) }

// Exit is how the process ended. It blocks until it has and its output was passed on.
func (s *Session) Exit() wire.Exit {
	<-s.done
	return s.exit
}

// Close says that the host has gone: a process that Exec started is killed, a container is left to itself.
func (s *Session) Close() { s.leave() }

func discard(b []byte) (int, error) { return len(b), nil }

// Attach copies the output of a running container from now on. Whoever asks for its input may write to it, one frame at a
// time.
func (r *Runtime) Attach(name string, a wire.Attach, stdout, stderr io.Writer) (*Session, error) {
	t, err := r.running(name)
	if err != nil {
		return nil, err
	}
	if err := t.streams.resize(a.Size); err != nil {
		return nil, err
	}
	s := &Session{streams: t.streams, done: make(chan struct{}), write: discard, endInput: func() {}}
	gone := make(chan struct{})
	if a.Stdin && t.input != nil {
		s.write = func(b []byte) (int, error) { return t.input.write(b, gone) }
		s.endInput = t.input.end
	}
	s.leave = sync.OnceFunc(func() {
		close(gone)
		s.endInput()
	})
	attachedOut, attachedErr := t.stdout.Attach(), t.stderr.Attach() // before there is input, whose answer is awaited
	var copies sync.WaitGroup
	copies.Go(func() { attachedOut.Copy(stdout, gone) })
	copies.Go(func() { attachedErr.Copy(stderr, gone) })
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
