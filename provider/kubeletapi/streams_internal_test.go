package kubeletapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	utilexec "k8s.io/utils/exec"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// attachIO is Virtual Kubelet's side of a stream.
type attachIO struct {
	in       io.Reader
	out, err io.WriteCloser
	tty      bool
	sizes    chan api.TermSize
}

func (a *attachIO) Stdin() io.Reader            { return a.in }
func (a *attachIO) Stdout() io.WriteCloser      { return a.out }
func (a *attachIO) Stderr() io.WriteCloser      { return a.err }
func (a *attachIO) TTY() bool                   { return a.tty }
func (a *attachIO) Resize() <-chan api.TermSize { return a.sizes }

// one is a container that does what a test sets.
type one struct {
	Containers
	exec func(ctx context.Context, e wire.Exec, s podvm.Stdio) (wire.Exit, error)
	conn io.ReadWriteCloser
}

func (o one) Exec(ctx context.Context, _ operations.Container, e wire.Exec, s podvm.Stdio) (wire.Exit, error) {
	return o.exec(ctx, e, s)
}

func (o one) Attach(ctx context.Context, _ operations.Container, a wire.Attach, s podvm.Stdio) (wire.Exit, error) {
	return o.exec(ctx, wire.Exec{Stdin: a.Stdin}, s)
}

func (o one) DialPort(context.Context, string, string, uint16) (io.ReadWriteCloser, error) {
	if o.conn == nil {
		return nil, portlayer.ErrNotRunning
	}
	return o.conn, nil
}

func TestExitsAreInVirtualKubeletsForm(t *testing.T) {
	cause := errors.New("no guest")
	tests := map[string]struct {
		exit wire.Exit
		err  error
		want error
	}{
		"success is none":                    {wire.Exit{}, nil, nil},
		"a code is an exit error":            {wire.Exit{Code: 3}, nil, utilexec.CodeExitError{Err: errors.New("exit code 3"), Code: 3}},
		"what could not run is one too":      {wire.Exit{Code: 127, Error: "gone"}, nil, utilexec.CodeExitError{Err: errors.New("gone"), Code: 127}},
		"a failure to get there stays as is": {wire.Exit{}, cause, cause},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, exitError(tt.exit, tt.err)) })
	}
}

func TestCommandThatCouldNotRunSaysWhy(t *testing.T) {
	tests := map[string]struct {
		tty              bool
		wantOut, wantErr string
	}{
		"on standard error":                       {false, "", "no such command\n"},
		"on the terminal, which has nothing else": {true, "no such command\r\n", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := &Server{cfg: Config{Containers: one{exec: func(context.Context, wire.Exec, podvm.Stdio) (wire.Exit, error) {
				return wire.Exit{Code: 127, Error: "no such command"}, nil
			}}}}
			out, errs := &client{}, &client{}
			streams := &attachIO{out: out, tty: tt.tty}
			if !tt.tty {
				streams.err = errs
			}
			err := s.exec(t.Context(), "n", "p", "c", []string{"x"}, streams)
			assert.Equal(t, utilexec.CodeExitError{Err: errors.New("no such command"), Code: 127}, err)
			assert.Equal(t, tt.wantOut, out.out.String())
			assert.Equal(t, tt.wantErr, errs.out.String())
		})
	}
}

func TestClientThatLeavesIsNoFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &Server{cfg: Config{Containers: one{exec: func(ctx context.Context, _ wire.Exec, _ podvm.Stdio) (wire.Exit, error) {
		cancel()
		return wire.Exit{}, fmt.Errorf("attach: %w", ctx.Err())
	}}}}
	var exit utilexec.ExitError
	require.ErrorAs(t, s.attach(ctx, "n", "p", "c", &attachIO{}), &exit)
	require.ErrorAs(t, s.exec(ctx, "n", "p", "c", []string{"x"}, &attachIO{}), &exit)
}

func TestAttachEndsWellWhateverTheExitCode(t *testing.T) {
	s := &Server{cfg: Config{Containers: one{exec: func(context.Context, wire.Exec, podvm.Stdio) (wire.Exit, error) {
		return wire.Exit{Code: 3}, nil
	}}}}
	require.NoError(t, s.attach(t.Context(), "n", "p", "c", &attachIO{}))
}

func TestStreamsThatAreNotThereAreNil(t *testing.T) {
	s := &Server{cfg: Config{Containers: one{exec: func(_ context.Context, e wire.Exec, s podvm.Stdio) (wire.Exit, error) {
		assert.False(t, e.Stdin)
		assert.False(t, e.TTY)
		assert.Nil(t, s.Stdin)
		assert.Nil(t, s.Stdout)
		assert.Nil(t, s.Stderr)
		assert.Nil(t, s.Resize)
		return wire.Exit{}, nil
	}}}}
	require.NoError(t, s.exec(t.Context(), "n", "p", "c", []string{"x"}, &attachIO{}))
	require.NoError(t, s.attach(t.Context(), "n", "p", "c", &attachIO{}))
}

func TestResize(t *testing.T) {
	sizes := make(chan api.TermSize)
	go func() { // ends when all are taken
		sizes <- api.TermSize{Width: 80, Height: 24}
		sizes <- api.TermSize{Width: 100, Height: 30}
		sizes <- api.TermSize{} // Virtual Kubelet's word for the end
	}()
	var got []wire.TerminalSize
	s := &Server{cfg: Config{Containers: one{exec: func(_ context.Context, e wire.Exec, s podvm.Stdio) (wire.Exit, error) {
		assert.True(t, e.TTY)
		for size := range s.Resize {
			got = append(got, size)
		}
		return wire.Exit{}, nil
	}}}}
	require.NoError(t, s.exec(t.Context(), "n", "p", "c", []string{"sh"}, &attachIO{tty: true, sizes: sizes}))
	assert.Equal(t, []wire.TerminalSize{{Columns: 80, Rows: 24}, {Columns: 100, Rows: 30}}, got)
}

func TestResizeEndsWithTheCommand(t *testing.T) {
	var resizes <-chan wire.TerminalSize
	s := &Server{cfg: Config{Containers: one{exec: func(_ context.Context, _ wire.Exec, s podvm.Stdio) (wire.Exit, error) {
		resizes = s.Resize
		return wire.Exit{}, nil
	}}}}
	require.NoError(t, s.exec(t.Context(), "n", "p", "c", []string{"sh"}, &attachIO{tty: true, sizes: make(chan api.TermSize)}))
	_, open := <-resizes
	assert.False(t, open)
}

// client is one end of a forwarded connection whose other end has sent all it has to.
type client struct {
	in  io.Reader
	out bytes.Buffer
}

func (c *client) Read(p []byte) (int, error)  { return c.in.Read(p) }
func (c *client) Write(p []byte) (int, error) { return c.out.Write(p) }
func (*client) Close() error                  { return nil }

// slowPod takes all it is sent, and answers with pieces, one every so often.
type slowPod struct {
	pieces int
	every  time.Duration
	once   sync.Once
	closed chan struct{}
}

func (p *slowPod) Read(b []byte) (int, error) {
	if p.pieces == 0 {
		return 0, io.EOF
	}
	select {
	case <-time.After(p.every):
		p.pieces--
		return copy(b, "."), nil
	case <-p.closed:
		return 0, net.ErrClosed
	}
}

func (*slowPod) Write(b []byte) (int, error) { return len(b), nil }
func (*slowPod) CloseWrite() error           { return nil }

func (p *slowPod) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func TestPortForward(t *testing.T) {
	t.Run("the pod answers after the client has sent all", func(t *testing.T) {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		go func() { // ends with the connection
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			request, err := io.ReadAll(conn)
			if err == nil {
				_, _ = conn.Write(append([]byte("answer to "), request...))
			}
		}()
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		c := &client{in: strings.NewReader("question")}
		s := &Server{cfg: Config{Containers: one{conn: conn}}}
		require.NoError(t, s.portForward(t.Context(), "n", "p", 80, c))
		assert.Equal(t, "answer to question", c.out.String())
	})
	t.Run("an answer may take longer than its silences", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			const pieces = 5
			c := &client{in: strings.NewReader("question")}
			require.NoError(t, join(c, &slowPod{pieces: pieces, every: forwardLinger - time.Second, closed: make(chan struct{})}))
			assert.Equal(t, strings.Repeat(".", pieces), c.out.String())
		})
	})
	t.Run("a pod that is silent towards a client that has left is left too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			require.NoError(t, join(&client{in: strings.NewReader("")}, &slowPod{pieces: 1, every: time.Hour, closed: make(chan struct{})}))
			assert.Equal(t, forwardLinger, time.Since(begin))
		})
	})
	t.Run("a port that nobody listens on is an error", func(t *testing.T) {
		s := &Server{cfg: Config{Containers: one{}}}
		require.ErrorIs(t, s.portForward(t.Context(), "n", "p", 80, nil), portlayer.ErrNotRunning)
	})
	t.Run("a port is a number up to 65535", func(t *testing.T) {
		s := &Server{cfg: Config{Containers: one{}}}
		require.EqualError(t, s.portForward(t.Context(), "n", "p", 65536, nil), "port 65536 is not between 1 and 65535")
	})
}
