package fakeguest

import (
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Stdio is what a process reads and writes. Nil ones are not connected.
type Stdio struct {
	In       io.Reader
	Out, Err io.Writer
}

// connected has nobody read what nobody wants.
func (s Stdio) connected() Stdio {
	if s.Out == nil {
		s.Out = io.Discard
	}
	if s.Err == nil {
		s.Err = io.Discard
	}
	return s
}

// bound returns a context that ends with ctx and with the boot. The caller calls end.
func (g *Guest) bound(ctx context.Context) (bounded context.Context, end context.CancelFunc) {
	ctx, end = context.WithCancel(ctx)
	// Ends with ctx or the boot.
	go func() {
		defer end()
		select {
		case <-g.ended:
		case <-ctx.Done():
		}
	}()
	return ctx, end
}

// broken says why what was bound to ctx and to the boot broke off; nil where it did not.
func (g *Guest) broken(ctx context.Context) error {
	select {
	case <-g.ended:
		return ErrEnded
	default:
		return ctx.Err()
	}
}

// Exec runs a command in a running container. A Read of stdio.In may still wait when Exec returns.
func (g *Guest) Exec(ctx context.Context, container string, exec wire.Exec, stdio Stdio) (wire.Exit, error) {
	if err := g.checkRuns(container); err != nil {
		return wire.Exit{}, err
	}
	stdio = stdio.connected()
	life, end := g.bound(ctx)
	defer end()
	if !exec.Stdin || stdio.In == nil {
		stdio.In = nil
	} else {
		stdio.In = readUntil(life, stdio.In)
	}
	exit := wire.Exit{Code: run(exec.Args, stdio, life.Done())}
	if exit.Code == 127 {
		exit.Error = "no such file"
	}
	return exit, g.broken(ctx)
}

// readUntil is r until ctx ends.
func readUntil(ctx context.Context, r io.Reader) io.Reader {
	in, w := io.Pipe()
	context.AfterFunc(ctx, func() { _ = in.Close() }) // a pipe's Close never fails
	// Ends with r, or at its next bytes after ctx.
	go func() {
		_, err := io.Copy(w, r)
		_ = w.CloseWithError(err) // the same
	}()
	return in
}

func (g *Guest) checkRuns(container string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.runningLocked(container)
	return err
}

func (g *Guest) runningLocked(name string) (*container, error) {
	c := g.findLocked(name)
	switch {
	case c == nil:
		return nil, refuse(http.StatusNotFound, "no container %s", name)
	case c.stop == nil:
		return nil, refuse(http.StatusConflict, "container %s does not run", name)
	}
	return c, nil
}

// Attach connects to a running container until that ends. A Read of stdio.In may still wait when Attach returns.
func (g *Guest) Attach(ctx context.Context, container string, stdio Stdio) (wire.Exit, error) {
	a, err := g.attachment(container)
	if err != nil {
		return wire.Exit{}, err
	}
	return a.serve(ctx, stdio)
}

// attachment is a host's connection to one attempt of a container.
type attachment struct {
	container *container
	attempt   int32
	log       *attemptLog
	stdin     *io.PipeWriter
}

func (g *Guest) attachment(container string) (*attachment, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, err := g.runningLocked(container)
	if err != nil {
		return nil, err
	}
	attempt := c.status.RestartCount
	return &attachment{container: c, attempt: attempt, log: c.logs[attempt], stdin: c.stdin}, nil
}

// serve carries the host's streams until the attempt, the boot or ctx ends.
func (a *attachment) serve(ctx context.Context, stdio Stdio) (wire.Exit, error) {
	g := a.container.guest
	stdio = stdio.connected()
	life, end := g.bound(ctx)
	defer end()
	f := &fan{out: stdio.Out, err: stdio.Err}
	g.mu.Lock()
	a.container.fans[f] = struct{}{}
	g.mu.Unlock()
	if stdio.In != nil {
		// Ends with the host's stdin, the container's or life.
		go func() {
			_, _ = io.Copy(a.stdin, readUntil(life, stdio.In)) // a container that ended reads no more
			_ = a.stdin.Close()                                // a pipe's Close never fails
		}()
	}
	a.log.wait(life.Done())
	f.leave()
	g.mu.Lock()
	delete(a.container.fans, f)
	g.mu.Unlock()
	return wire.Exit{Code: a.container.exitCode(a.attempt)}, g.broken(ctx)
}

func (c *container) exitCode(attempt int32) int32 {
	c.guest.mu.Lock()
	defer c.guest.mu.Unlock()
	for _, t := range []*wire.Terminated{c.status.Current, c.status.Last} {
		if t != nil && t.Attempt == attempt {
			return t.ExitCode
		}
	}
	return 0
}

// fan passes a container's output to an attached host.
type fan struct {
	mu       sync.Mutex // guards what follows; held while a host takes its time, so that nothing is written after leave
	out, err io.Writer
	left     bool
}

func (f *fan) write(stream string, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.left {
		return
	}
	w := f.out
	if stream == "stderr" {
		w = f.err
	}
	_, _ = w.Write(b) // its host is gone when it fails
}

func (f *fan) leave() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = true
}

// Dial connects to a server in the pod that sends back what it gets; port 1 is closed. The connection outlives ctx.
func (g *Guest) Dial(ctx context.Context, port uint16) (*Conn, error) {
	if port == 1 {
		return nil, refuse(http.StatusBadGateway, "connection refused")
	}
	toServer, request := io.Pipe()
	answer, toClient := io.Pipe()
	life, end := g.bound(context.WithoutCancel(ctx))
	context.AfterFunc(life, func() {
		_, _ = toServer.Close(), toClient.Close() // a pipe's Close never fails
	})
	// Ends with the connection or the boot.
	go func() {
		defer end()
		_, err := io.Copy(toClient, toServer)
		_ = toClient.CloseWithError(err) // the same
	}()
	return &Conn{PipeReader: answer, request: request, end: end}, nil
}

// Conn is a connection to a port of the pod.
type Conn struct {
	*io.PipeReader
	request *io.PipeWriter
	end     context.CancelFunc
}

// Write implements io.Writer.
func (c *Conn) Write(b []byte) (int, error) { return c.request.Write(b) }

// CloseWrite says that nothing more will be written.
func (c *Conn) CloseWrite() error { return c.request.Close() }

// Close ends the connection.
func (c *Conn) Close() error {
	c.end()
	return c.PipeReader.Close()
}
