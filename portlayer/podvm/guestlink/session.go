package guestlink

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	// echoTimeout is how long the first attempt waits for the preamble's echo: what was sent before the guest opened its
	// port may be lost. Each attempt doubles it, since a slow guest may need longer.
	echoTimeout    = 2 * time.Second
	maxEchoTimeout = 15 * time.Second
	// maxHeaderBytes bounds the header of a guest's answer.
	maxHeaderBytes = 64 << 10
	// maxLingering bounds the streams that were closed and that the guest does not end. Each may hold its window, in a
	// buffer of up to 1 MiB, until streamCloseTimeout; so does a session that was broken.
	maxLingering       = 32
	streamCloseTimeout = 10 * time.Second
)

// session is one connection to a guest, from its preamble until it breaks.
type session struct {
	mux   *yamux.Session
	http  *http.Client
	heard *moment      // when bytes came last
	inUse atomic.Int64 // streams that were not closed
	// abused says that the guest ended the session by what no guest of ours does.
	abused atomic.Bool
}

// connect dials, exchanges preambles and starts the session's multiplexer.
func connect(ctx context.Context, cfg Config, attempt int) (*session, error) {
	stream, err := cfg.Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial guest: %w", err)
	}
	stream = counted{stream, cfg.Metrics}
	ctx, cancel := context.WithTimeout(ctx, min(echoTimeout<<min(attempt, 8), maxEchoTimeout))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		_ = stream.Close() // wakes Connect, which then reports the failure
	})
	conn, err := wire.Connect(stream)
	if !stop() || err != nil {
		_ = stream.Close() // it is not used, or closed already
		if err == nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return newSession(conn, cfg.Patience*3/2)
}

// newSession breaks when the guest leaves the channel full or a ping unanswered for writeTimeout.
func newSession(conn io.ReadWriteCloser, writeTimeout time.Duration) (*session, error) {
	cfg := yamux.DefaultConfig()
	cfg.LogOutput = io.Discard
	cfg.EnableKeepAlive = false // watchLiveness pings when nothing else comes
	cfg.ConnectionWriteTimeout = writeTimeout
	cfg.StreamCloseTimeout = streamCloseTimeout
	s := &session{heard: newMoment()}
	mux, err := yamux.Client(&hearing{conn, s, newPingGuard()}, cfg)
	if err != nil {
		_ = conn.Close() // the cause is reported
		return nil, fmt.Errorf("start multiplexer: %w", err)
	}
	s.mux = mux
	transport := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return s.open() },
		DisableCompression:     true,
		DisableKeepAlives:      true, // a stream costs little, and an idle one is where a guest could speak unasked
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	s.http = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// Ends with the session.
	go func() {
		if _, err := mux.Accept(); err == nil {
			_ = mux.Close() // only hosts open streams
		}
	}()
	return s, nil
}

// open opens a stream. It breaks the session of a guest that does not end the streams that were closed.
func (s *session) open() (net.Conn, error) {
	if int64(s.mux.NumStreams())-s.inUse.Load() > maxLingering {
		s.abused.Store(true)
		s.close()
		return nil, fmt.Errorf("%w: more than %d closed streams are not ended", ErrMalformed, maxLingering)
	}
	s.inUse.Add(1)
	conn, err := s.mux.Open()
	if err != nil {
		s.inUse.Add(-1)
		return nil, err
	}
	return &stream{Conn: conn, done: sync.OnceFunc(func() { s.inUse.Add(-1) })}, nil
}

// stream calls back when it is closed.
type stream struct {
	net.Conn
	done func()
}

func (s *stream) Close() error {
	s.done()
	return s.Conn.Close()
}

// close breaks the session and everything on it; it may be called again.
func (s *session) close() {
	_ = s.mux.Close() // there is nothing to do about it, and the next session begins with a preamble
}

func (s *session) heardAt() time.Time { return s.heard.time() }

// hearing notes when something was read, and breaks the session of a guest that pings too much.
type hearing struct {
	io.ReadWriteCloser
	session *session
	guard   *pingGuard // used by the multiplexer's one reader
}

func (h *hearing) Read(b []byte) (int, error) {
	n, err := h.ReadWriteCloser.Read(b)
	if n > 0 {
		h.session.heard.now()
	}
	if !h.guard.allow(b[:n]) {
		h.session.abused.Store(true)
		return 0, fmt.Errorf("%w: pings without end", ErrMalformed)
	}
	return n, err
}
