package kubeletapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/mux"
	"github.com/virtual-kubelet/virtual-kubelet/node/api"
	utilexec "k8s.io/utils/exec"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

const (
	// maxRunBytes bounds what /run answers with.
	maxRunBytes = 1 << 20
	// forwardLinger is how long a pod may be silent towards a client that has sent all it has.
	forwardLinger = time.Minute
)

//nolint:revive // Virtual Kubelet's signature
func (s *Server) exec(ctx context.Context, namespace, pod, container string, cmd []string, io api.AttachIO) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	streams := streamsOf(ctx, io)
	exit, err := s.cfg.Containers.Exec(ctx, operations.Container{Namespace: namespace, Name: pod, Container: container},
		wire.Exec{Args: cmd, TTY: io.TTY(), Stdin: io.Stdin() != nil}, streams)
	if exit.Error != "" {
		writeWhy(streams, exit.Error)
	}
	return exitError(exit, explainEnd(ctx, container, err))
}

func (s *Server) attach(ctx context.Context, namespace, pod, container string, io api.AttachIO) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_, err := s.cfg.Containers.Attach(ctx, operations.Container{Namespace: namespace, Name: pod, Container: container},
		wire.Attach{Stdin: io.Stdin() != nil}, streamsOf(ctx, io))
	// As with the kubelet, the container's exit code is in the pod's status, and not how attach ended.
	return explainEnd(ctx, container, err)
}

func (s *Server) portForward(ctx context.Context, namespace, pod string, port int32, stream io.ReadWriteCloser) error {
	if port < 1 || port > math.MaxUint16 {
		return fmt.Errorf("port %d is not between 1 and %d", port, math.MaxUint16)
	}
	conn, err := s.cfg.Containers.DialPort(ctx, namespace, pod, uint16(port))
	if err != nil {
		return err
	}
	return join(stream, conn)
}

// join copies both ways until the pod has closed its side. When the client has closed its own, or is gone, which look
// alike, the pod may go on answering as long as it says something every forwardLinger.
func join(client, pod io.ReadWriteCloser) error {
	var sending sync.WaitGroup
	var left atomic.Bool // the connection was closed because the client has ended
	answered, said := make(chan struct{}), make(chan struct{}, 1)
	sending.Go(func() { // ends when the pod has answered, or is silent after the client has ended
		_, err := io.Copy(pod, client)
		if half, ok := pod.(interface{ CloseWrite() error }); ok && err == nil && half.CloseWrite() == nil {
			linger(answered, said)
		}
		left.Store(true)
		_ = pod.Close() // nobody waits for more
	})
	_, err := io.Copy(&notifier{Writer: client, written: said}, pod)
	clientLeft := left.Load()
	close(answered)
	_ = client.Close() // nothing more is sent, and err says what was
	_ = pod.Close()    // as above
	sending.Wait()
	if err != nil && !clientLeft {
		return fmt.Errorf("forward: %w", err)
	}
	return nil
}

// linger waits until the pod has answered, or has said nothing for forwardLinger.
func linger(answered, said <-chan struct{}) {
	silence := time.NewTimer(forwardLinger)
	defer silence.Stop()
	for {
		select {
		case <-answered:
			return
		case <-said:
			silence.Reset(forwardLinger)
		case <-silence.C:
			return
		}
	}
}

// notifier says that something was written, and never waits for a listener.
type notifier struct {
	io.Writer
	written chan<- struct{}
}

func (n *notifier) Write(p []byte) (int, error) {
	written, err := n.Writer.Write(p)
	select {
	case n.written <- struct{}{}:
	default:
	}
	return written, err
}

// run answers with all that a command writes, as the kubelet's /run does.
func (s *Server) run(w http.ResponseWriter, r *http.Request) {
	vars := mux.Vars(r)
	cmd := strings.Fields(r.FormValue("cmd"))
	if len(cmd) == 0 {
		http.Error(w, "cmd is empty", http.StatusBadRequest)
		return
	}
	output := &boundedBuffer{}
	exit, err := s.cfg.Containers.Exec(r.Context(), containerOf(vars), wire.Exec{Args: cmd}, podvm.Stdio{Stdout: output, Stderr: output})
	if err := exitError(exit, err); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = w.Write(output.Bytes()) // the client is gone: nobody is left to answer
}

// writeWhy writes why a command could not run where its own words would be: of an exit, kubectl shows the code only.
func writeWhy(s podvm.Stdio, why string) {
	switch {
	case s.Stderr != nil:
		_, _ = io.WriteString(s.Stderr, why+"\n") // the client may be gone
	case s.Stdout != nil: // a terminal, which is in raw mode at the other end
		_, _ = io.WriteString(s.Stdout, why+"\r\n") // as above
	}
}

// explainEnd puts into the kubelet's words why there is no exit. Where the client has left there is nobody to answer, and
// Virtual Kubelet logs what is not an exit as an error.
func explainEnd(ctx context.Context, container string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return utilexec.CodeExitError{Err: err, Code: 1}
	case errors.Is(err, portlayer.ErrNotFound), errors.Is(err, portlayer.ErrNotRunning): // it ended since it was looked up
		return errors.New(notFoundMessage(container))
	}
	return err
}

// exitError puts an exit into the form that Virtual Kubelet looks for; it does not unwrap.
func exitError(exit wire.Exit, err error) error {
	switch {
	case err != nil:
		return err
	case exit.Error != "":
		return utilexec.CodeExitError{Err: errors.New(exit.Error), Code: int(exit.Code)}
	case exit.Code != 0:
		return utilexec.CodeExitError{Err: fmt.Errorf("exit code %d", exit.Code), Code: int(exit.Code)}
	default:
		return nil
	}
}

// streamsOf connects Virtual Kubelet's streams; the resizing ends with ctx.
func streamsOf(ctx context.Context, io api.AttachIO) podvm.Stdio {
	// A nil stream inside a non-nil interface would be taken for a stream.
	streams := podvm.Stdio{Stdin: io.Stdin()}
	if out := io.Stdout(); out != nil {
		streams.Stdout = out
	}
	if out := io.Stderr(); out != nil {
		streams.Stderr = out
	}
	if io.TTY() {
		streams.Resize = resizes(ctx, io.Resize())
	}
	return streams
}

// resizes turns Virtual Kubelet's terminal sizes into ours, and closes what it returns when there will be no more. When
// the client has closed its stream of sizes, Virtual Kubelet sends sizes of zero without end.
func resizes(ctx context.Context, from <-chan api.TermSize) <-chan wire.TerminalSize {
	to := make(chan wire.TerminalSize)
	go func() { // ends with ctx, or with a size of zero
		defer close(to)
		for {
			select {
			case <-ctx.Done():
				return
			case size := <-from:
				if size.Width == 0 && size.Height == 0 {
					return
				}
				select {
				case <-ctx.Done():
					return
				case to <- wire.TerminalSize{Columns: size.Width, Rows: size.Height}:
				}
			}
		}
	}()
	return to
}

// boundedBuffer keeps the first maxRunBytes. It is safe for concurrent use.
type boundedBuffer struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

// Write never fails: what is too much is dropped.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf.Write(p[:min(len(p), maxRunBytes-b.buf.Len())])
	return len(p), nil
}

// Bytes returns a copy of what is kept.
func (b *boundedBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.buf.Bytes())
}
