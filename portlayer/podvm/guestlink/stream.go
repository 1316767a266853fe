package guestlink

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// upgradeTimeout is how long a guest may take to start a process or to dial a port.
const upgradeTimeout = 30 * time.Second

// Streams are a user's ends of exec and attach. Nil ones are not connected.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Resize delivers terminal sizes until it is closed.
	Resize <-chan wire.TerminalSize
}

// Exec runs a command in a running container and returns how it ended. A Read of streams.Stdin may still wait when Exec
// returns; it ends when the caller closes what is behind it.
func (l *Link) Exec(ctx context.Context, container string, exec wire.Exec, streams Streams) (wire.Exit, error) {
	return l.process(ctx, containerPath(wire.PathExec, container), exec, streams)
}

// Attach connects to the running process of a container; see Exec for streams.Stdin.
func (l *Link) Attach(ctx context.Context, container string, attach wire.Attach, streams Streams) (wire.Exit, error) {
	return l.process(ctx, containerPath(wire.PathAttach, container), attach, streams)
}

// DialPort opens a TCP connection from inside the pod. The connection has a CloseWrite method.
func (l *Link) DialPort(ctx context.Context, port uint16) (io.ReadWriteCloser, error) {
	q := url.Values{"port": {strconv.Itoa(int(port))}}
	c, err := l.upgrade(ctx, wire.PathDial+"?"+q.Encode())
	var status *StatusError
	if errors.As(err, &status) && status.Code == http.StatusBadGateway {
		return nil, errors.New(status.Message) // the guest's reason is all there is to say
	}
	if err != nil {
		return nil, err
	}
	if err := c.Frame(wire.FrameStart, nil); err != nil {
		_ = c.Close() // the write's error says more
		return nil, unreachable(err)
	}
	return &portConn{upgraded: c}, nil
}

// upgraded is a connection of frames.
type upgraded struct {
	*wire.FrameWriter
	conn net.Conn
	r    *bufio.Reader
}

// Close ends the connection at once.
func (u *upgraded) Close() error { return u.conn.Close() }

// upgrade opens a stream and turns it into a connection of frames.
func (l *Link) upgrade(ctx context.Context, path string) (*upgraded, error) {
	ctx, cancel := context.WithTimeout(ctx, upgradeTimeout)
	defer cancel()
	s, err := l.await(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := s.open()
	if err != nil {
		return nil, unreachable(err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = conn.SetDeadline(time.Unix(1, 0)) // wakes the exchange, which then fails
	})
	u, err := handshake(ctx, conn, path)
	if !stop() {
		err = unreachable(ctx.Err()) // whatever the exchange made of it
	}
	if err != nil {
		_ = conn.Close() // the other error says more
		return nil, err
	}
	return u, nil
}

func handshake(ctx context.Context, conn net.Conn, path string) (*upgraded, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://guest"+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make call: %w", err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", wire.UpgradeProtocol)
	if err := req.Write(conn); err != nil {
		return nil, unreachable(err)
	}
	head := &io.LimitedReader{R: conn, N: maxHeaderBytes}
	r := bufio.NewReader(head)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, unreachable(err)
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		defer closeBody(resp.Body)
		return nil, statusError(resp)
	}
	head.N = 1<<63 - 1 // frames have bounds of their own
	return &upgraded{FrameWriter: wire.NewFrameWriter(conn), conn: conn, r: r}, nil
}

// process starts what start describes and carries its streams until it exits.
func (l *Link) process(ctx context.Context, path string, start any, streams Streams) (wire.Exit, error) {
	b, err := json.Marshal(start)
	if err != nil {
		return wire.Exit{}, fmt.Errorf("encode call: %w", err)
	}
	if len(b) > wire.MaxFrameBytes {
		return wire.Exit{}, fmt.Errorf("command has %d bytes, and a guest takes %d", len(b), wire.MaxFrameBytes)
	}
	c, err := l.upgrade(ctx, path)
	if err != nil {
		return wire.Exit{}, err
	}
	defer func() { _ = c.Close() }() // everything was received, or is given up
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	if err := c.Frame(wire.FrameStart, b); err != nil {
		return wire.Exit{}, unreachable(err)
	}
	ended := make(chan struct{})
	defer close(ended)
	if streams.Stdin != nil {
		// Ends with the user's stdin, or at its next bytes after c was closed.
		go c.sendStdin(streams.Stdin)
	}
	if streams.Resize != nil {
		// Ends when process does or the user's channel is closed.
		go c.sendSizes(streams.Resize, ended)
	}
	exit, err := c.receive(streams)
	if ctx.Err() != nil {
		return exit, ctx.Err()
	}
	return exit, err
}

// sendStdin copies the user's stdin; its failures show in receive.
func (u *upgraded) sendStdin(stdin io.Reader) {
	if _, err := io.Copy(u.Stream(wire.FrameStdin), stdin); err != nil {
		_ = u.Close() // a stdin that breaks is not a stdin that ends
		return
	}
	_ = u.Frame(wire.FrameEOF, nil) // a broken connection shows in receive
}

func (u *upgraded) sendSizes(sizes <-chan wire.TerminalSize, ended <-chan struct{}) {
	for {
		select {
		case size, ok := <-sizes:
			if !ok {
				return
			}
			b, err := json.Marshal(size)
			if err != nil || u.Frame(wire.FrameResize, b) != nil {
				return
			}
		case <-ended:
			return
		}
	}
}

// receive hands on what the process writes, and returns its exit.
func (u *upgraded) receive(streams Streams) (wire.Exit, error) {
	for {
		kind, payload, err := wire.ReadFrame(u.r)
		if err != nil {
			return wire.Exit{}, unreachable(err)
		}
		switch kind {
		case wire.FrameStdout:
			err = write(streams.Stdout, payload)
		case wire.FrameStderr:
			err = write(streams.Stderr, payload)
		case wire.FrameExit:
			return parseExit(payload)
		case wire.FrameStart, wire.FrameStdin, wire.FrameResize, wire.FrameEOF:
			// no more output, or a frame that a guest has no reason to send
		}
		if err != nil {
			return wire.Exit{}, fmt.Errorf("write output: %w", err)
		}
	}
}

func write(w io.Writer, b []byte) error {
	if w == nil {
		return nil
	}
	_, err := w.Write(b)
	return err
}

func parseExit(b []byte) (wire.Exit, error) {
	var exit wire.Exit
	if err := json.Unmarshal(b, &exit); err != nil {
		return wire.Exit{}, fmt.Errorf("%w: exit: %w", ErrMalformed, err)
	}
	exit.Code = min(max(exit.Code, 0), maxExitCode)
	exit.Error = clean(exit.Error, wire.MaxMessageBytes)
	return exit, nil
}

// portConn is a TCP connection in the guest, carried by frames. Reads and writes may run beside each other.
type portConn struct {
	*upgraded
	rest []byte // received and not yet read
	err  error  // what Read answers when rest is empty
}

func (p *portConn) Read(b []byte) (int, error) {
	for len(p.rest) == 0 && p.err == nil {
		p.rest, p.err = p.next()
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	if n > 0 {
		return n, nil
	}
	return 0, p.err
}

// next returns the next bytes of the connection, nil where a frame has none.
func (p *portConn) next() ([]byte, error) {
	kind, payload, err := wire.ReadFrame(p.r)
	switch {
	case err != nil:
		return nil, unreachable(err)
	case kind == wire.FrameStdout:
		return payload, nil
	case kind == wire.FrameEOF:
		return nil, io.EOF
	case kind != wire.FrameExit:
		return nil, nil
	}
	exit, err := parseExit(payload)
	if err != nil {
		return nil, err
	}
	if exit.Error != "" {
		return nil, errors.New(exit.Error)
	}
	return nil, io.EOF
}

func (p *portConn) Write(b []byte) (int, error) { return p.Stream(wire.FrameStdin).Write(b) }

// CloseWrite says that nothing more will be written.
func (p *portConn) CloseWrite() error { return p.Frame(wire.FrameEOF, nil) }
