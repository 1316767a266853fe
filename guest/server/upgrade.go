package server

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/guest/crun"
	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	dialTimeout = 10 * time.Second
	// inputQueue is how many frames of input wait for a process that does not read; more hold the host back.
	inputQueue = 16
)

// upgraded is a connection that carries frames.
type upgraded struct {
	conn net.Conn
	r    *bufio.Reader
	w    *wire.FrameWriter
}

// upgrade makes the call's connection one of frames. After it returns without error, nothing else answers the call.
func upgrade(w http.ResponseWriter, r *http.Request) (*upgraded, error) {
	if r.Header.Get("Upgrade") != wire.UpgradeProtocol {
		return nil, fmt.Errorf("%w: it has to upgrade to %s", errInvalid, wire.UpgradeProtocol)
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", wire.UpgradeProtocol)
	w.WriteHeader(http.StatusSwitchingProtocols)
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("upgrade: %w", err)
	}
	return &upgraded{conn: conn, r: buffered.Reader, w: wire.NewFrameWriter(conn)}, nil
}

func (u *upgraded) close() { _ = u.conn.Close() } // whatever was written has left, or the host is gone

// first reads the frame that begins a connection.
func first[T any](u *upgraded) (T, error) {
	var v T
	kind, payload, err := wire.ReadFrame(u.r)
	if err != nil {
		return v, err
	}
	if kind != wire.FrameStart {
		return v, fmt.Errorf("%w: frame %d comes first", errInvalid, kind)
	}
	return v, json.Unmarshal(payload, &v)
}

func (u *upgraded) exit(e wire.Exit) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return u.w.Frame(wire.FrameExit, b)
}

func (s *server) exec(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("container")
	if err := s.Streams.Running(name); err != nil {
		return err
	}
	u, err := upgrade(w, r)
	if err != nil {
		return err
	}
	defer u.close()
	e, err := first[wire.Exec](u)
	if err == nil && len(e.Args) == 0 {
		err = fmt.Errorf("%w: there is no command", errInvalid)
	}
	var session Session
	if err == nil {
		session, err = s.Streams.Exec(r.Context(), name, e, u.w.Stream(wire.FrameStdout), u.w.Stream(wire.FrameStderr))
	}
	s.drive(r, u, session, err)
	return nil
}

func (s *server) attach(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("container")
	if err := s.Streams.Running(name); err != nil {
		return err
	}
	u, err := upgrade(w, r)
	if err != nil {
		return err
	}
	defer u.close()
	a, err := first[wire.Attach](u)
	var session Session
	if err == nil {
		session, err = s.Streams.Attach(name, a, u.w.Stream(wire.FrameStdout), u.w.Stream(wire.FrameStderr))
	}
	s.drive(r, u, session, err)
	return nil
}

// drive passes the host's frames to a session until its end. err says why there is none.
func (s *server) drive(r *http.Request, u *upgraded, session Session, err error) {
	if err == nil {
		defer session.Close()
		// Ends when u is closed, at the latest when drive returns.
		go func() {
			defer session.Close()
			receive(u.r, session)
		}()
		err = u.exit(session.Exit())
	} else {
		err = u.exit(crun.FailedExit(err))
	}
	if err != nil {
		logging.From(r.Context()).DebugContext(r.Context(), "host left a stream", "err", err)
	}
}

// receive passes on frames until the host closes its end.
func receive(r io.Reader, session Session) {
	input := make(chan []byte, inputQueue)
	defer close(input)
	// Ends with receive. A process that does not read must not hold back a change of its terminal's size.
	go func() {
		for b := range input {
			if len(b) == 0 {
				session.EndInput()
			} else if _, err := session.Write(b); err != nil {
				session.EndInput()
			}
		}
	}()
	for {
		kind, payload, err := wire.ReadFrame(r)
		if err != nil {
			return
		}
		switch kind {
		case wire.FrameStdin:
			if len(payload) == 0 {
				continue
			}
		case wire.FrameEOF:
			payload = nil
		case wire.FrameResize:
			var size wire.TerminalSize
			if json.Unmarshal(payload, &size) == nil {
				_ = session.Resize(size) // a terminal that has gone has no size
			}
			continue
		default:
			return // a host never sends another one
		}
		input <- payload
	}
}

// dial connects to a port of the VM, whose network is the pod's.
func (s *server) dial(w http.ResponseWriter, r *http.Request) error {
	port, err := number(r, "port")
	if err != nil || port == 0 || port > 65535 {
		return errors.Join(err, fmt.Errorf("%w: there is no port %d", errInvalid, port))
	}
	target, err := dialLoopback(r, strconv.FormatUint(port, 10))
	if err != nil {
		return err
	}
	defer target.Close()
	u, err := upgrade(w, r)
	if err != nil {
		return err
	}
	defer u.close()
	if kind, _, err := wire.ReadFrame(u.r); err != nil || kind != wire.FrameStart {
		return nil // the call was answered by its upgrade
	}
	over := make(chan struct{})
	// Ends when the host closes its connection, at the latest when u is closed.
	go forward(u.r, target, sync.OnceFunc(func() { close(over) }))
	_, _ = io.Copy(u.w.Stream(wire.FrameStdout), target) // either end may go at any time
	if u.w.Frame(wire.FrameEOF, nil) == nil {
		<-over
	}
	return nil
}

func dialLoopback(r *http.Request, port string) (*net.TCPConn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	c, err4 := d.DialContext(r.Context(), "tcp4", net.JoinHostPort("127.0.0.1", port))
	if err4 == nil {
		return c.(*net.TCPConn), nil
	}
	c, err6 := d.DialContext(r.Context(), "tcp6", net.JoinHostPort("::1", port))
	if err6 == nil {
		return c.(*net.TCPConn), nil
	}
	return nil, fmt.Errorf("%w to localhost:%s inside the pod VM, IPv4: %w, IPv6: %w", errConnect, port, err4, err6)
}

// forward passes input on until the host closes its connection, and closes target with it. It calls over as soon as
// nothing more can come.
func forward(r io.Reader, target *net.TCPConn, over func()) {
	defer over()
	for {
		kind, payload, err := wire.ReadFrame(r)
		if err == nil && kind == wire.FrameStdin {
			_, err = target.Write(payload)
		}
		if err != nil {
			_ = target.Close() // unblocks the other direction
			return
		}
		if kind == wire.FrameEOF {
			_ = target.CloseWrite() // an error shows on the next read
			over()
		}
	}
}
