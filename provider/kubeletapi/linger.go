package kubeletapi

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// lingerTimeout is how long a closed connection waits for the other end's close.
const lingerTimeout = 10 * time.Second

// lingering is a listener whose connections end in order. The API server passes what clients send on to a connection like
// this one, and as soon as that fails it gives both up, with what it still has for the client: how a command ended, and
// kubectl takes no word of that for success. So what comes after the close is read, and not answered with a reset.
type lingering struct{ net.Listener }

// Accept implements [net.Listener].
func (l lingering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if half, ok := conn.(halfCloser); ok {
		return &lingeringConn{halfCloser: half}, nil
	}
	return conn, nil
}

type halfCloser interface {
	net.Conn
	CloseWrite() error
}

type lingeringConn struct {
	halfCloser

	closed atomic.Bool
}

// Read implements [net.Conn].
func (c *lingeringConn) Read(b []byte) (int, error) {
	if c.closed.Load() {
		return 0, net.ErrClosed
	}
	return c.halfCloser.Read(b)
}

// Close sends what was written, and does not wait for the other end.
func (c *lingeringConn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	now := time.Now()
	if c.CloseWrite() != nil || c.SetReadDeadline(now.Add(lingerTimeout)) != nil || c.SetWriteDeadline(now) != nil {
		return c.halfCloser.Close() // the other end is gone
	}
	// Ends with the other end's close, or lingerTimeout later.
	go func() {
		_, _ = io.Copy(io.Discard, c.halfCloser) // nobody wants it
		_ = c.halfCloser.Close()                 // as above
	}()
	return nil
}
