//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
)

// sizes delivers terminal sizes until it is closed.
type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	size, ok := <-s
	if !ok {
		return nil
	}
	return &size
}

// session is an exec or attach that a test types into.
type session struct {
	in    *io.PipeWriter
	out   *output
	sizes sizes
	leave context.CancelFunc
	ended chan error
}

func (c *cluster) session(t *testing.T, protocol string, p *corev1.Pod, options runtime.Object) *session {
	t.Helper()
	tty := false
	switch o := options.(type) {
	case *corev1.PodExecOptions:
		tty = o.TTY
	case *corev1.PodAttachOptions:
		tty = o.TTY
	}
	ctx, cancel := context.WithCancel(t.Context())
	in, typed := io.Pipe()
	s := &session{in: typed, out: &output{}, sizes: make(sizes), leave: cancel, ended: make(chan error, 1)}
	o := remotecommand.StreamOptions{Stdin: in, Stdout: s.out, Tty: tty}
	if tty {
		o.TerminalSizeQueue = s.sizes
	} else {
		o.Stderr = s.out
	}
	// Ends with the process, or when the test does.
	go func() {
		err := c.process(ctx, protocol, p, options, o)
		_ = in.CloseWithError(io.EOF)
		s.ended <- err
	}()
	t.Cleanup(cancel)
	return s
}

func (s *session) enter(t *testing.T, text string) {
	t.Helper()
	_, err := io.WriteString(s.in, text)
	require.NoError(t, err)
}

func (s *session) resize(t *testing.T, columns, rows uint16) {
	t.Helper()
	select {
	case s.sizes <- remotecommand.TerminalSize{Width: columns, Height: rows}:
	case <-time.After(patience):
		require.Fail(t, "nobody takes the size")
	}
}

func (s *session) expect(t *testing.T, c *cluster, text string) {
	t.Helper()
	c.eventually(t, "output "+text, func(context.Context) (bool, string) {
		out := s.out.String()
		return strings.Contains(out, text), out
	})
}

func (s *session) end(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s.ended:
		return err
	case <-time.After(patience):
		require.Fail(t, "the session never ended", s.out.String())
		return nil
	}
}

func TestExecOnATerminal(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.waitReady(t, shared.create(t, pod(ns, "shell", sleepForever)))
	for protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			s := shared.session(t, protocol, p, &corev1.PodExecOptions{Container: "main", Command: []string{"sh"}, Stdin: true, Stdout: true, TTY: true})
			for i, rows := range []uint16{20, 50} {
				s.resize(t, 100, rows)
				want := fmt.Sprintf("%d 100", rows)
				// The size travels beside what is typed.
				shared.eventually(t, want, func(context.Context) (bool, string) {
					s.enter(t, "stty size\n")
					return strings.Contains(s.out.String(), want), s.out.String()
				})
				s.enter(t, fmt.Sprintf("echo $((%d+40))\n", i))
				s.expect(t, shared, fmt.Sprintf("\n%d\r\n", i+40))
			}
			s.enter(t, "exit 7\n")
			var exit utilexec.CodeExitError
			require.ErrorAs(t, s.end(t), &exit)
			assert.Equal(t, 7, exit.Code)
		})
	}
}

func interactive(tty, once bool) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Stdin, c.StdinOnce, c.TTY = true, once, tty
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
	}
}

func TestAttach(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	const reader = `while read x; do echo got $x; done; echo end; exit 3`
	options := &corev1.PodAttachOptions{Container: "main", Stdin: true, Stdout: true, Stderr: true}
	for protocol := range protocols {
		kind := strings.ToLower(protocol)
		t.Run(protocol+"/two type, and the input is over with the first who leaves", func(t *testing.T) {
			t.Parallel()
			p := shared.waitReady(t, shared.create(t, pod(ns, "once-"+kind, reader, interactive(false, true))))
			one := shared.session(t, protocol, p, options)
			one.enter(t, "first\n")
			one.expect(t, shared, "got first\n")
			two := shared.session(t, protocol, p, options)
			two.enter(t, "second\n")
			two.expect(t, shared, "got second\n")
			one.expect(t, shared, "got second\n")
			require.NoError(t, one.in.Close())
			require.NoError(t, one.end(t))
			assert.Contains(t, one.out.String(), "end\n")
			end := shared.waitPhase(t, p, corev1.PodFailed).Status.ContainerStatuses[0].State.Terminated
			assert.EqualValues(t, 3, end.ExitCode)
			assert.Equal(t, "got first\ngot second\nend\n", shared.log(t, p, corev1.PodLogOptions{}))
		})
		t.Run(protocol+"/who leaves a terminal finds it again", func(t *testing.T) {
			t.Parallel()
			p := shared.waitReady(t, shared.create(t, pod(ns, "tty-"+kind, "exec sh", interactive(true, false))))
			options := &corev1.PodAttachOptions{Container: "main", Stdin: true, Stdout: true, TTY: true}
			s := shared.session(t, protocol, p, options)
			s.resize(t, 90, 30)
			s.enter(t, "x=kept; echo $((6*7))\n")
			s.expect(t, shared, "42\r\n")
			s.leave()
			_ = s.end(t) // canceled
			s = shared.session(t, protocol, p, options)
			s.enter(t, "echo $x-$((40+2))\n")
			s.expect(t, shared, "kept-42\r\n")
			assert.Zero(t, restarts(shared.waitReady(t, p)))
			s.enter(t, "exit\n")
			require.NoError(t, s.end(t))
			shared.waitPhase(t, p, corev1.PodSucceeded)
		})
	}
	t.Run("kubectl attach without input shows what is written", func(t *testing.T) {
		t.Parallel()
		p := shared.waitReady(t, shared.create(t, pod(ns, "output", "while :; do echo tick; sleep 1; done")))
		cmd := shared.kubectlCommand(t.Context(), "-n", ns, "attach", p.Name)
		out := &output{}
		cmd.Stdout = out
		require.NoError(t, cmd.Start())
		shared.eventually(t, "a line", func(context.Context) (bool, string) { return strings.Contains(out.String(), "tick\n"), out.String() })
		require.NoError(t, cmd.Process.Kill())
		_ = cmd.Wait() // killed
		shared.waitReady(t, p)
	})
}
