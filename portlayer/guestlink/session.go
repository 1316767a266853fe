package guestlink

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
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
)

// session is one connection to a guest, from its preamble until it breaks.
type session struct {
	mux   *yamux.Session
	http  *http.Client
	heard *atomic.Int64 // when bytes came last, in Unix nanoseconds
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
	heard := &atomic.Int64{}
	heard.Store(time.Now().UnixNano())
	mux, err := yamux.Client(&hearing{conn, heard, newPingGuard()}, cfg)
	if err != nil {
		_ = conn.Close() // the cause is reported
		return nil, fmt.Errorf("start multiplexer: %w", err)
	}
	transport := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return mux.Open() },
		DisableCompression:     true,
		DisableKeepAlives:      true, // a stream costs little, and an idle one is where a guest could speak unasked
		MaxResponseHeaderBytes: maxHeaderBytes,
	}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// Ends with the session.
	go func() {
		if _, err := mux.Accept(); err == nil {
			_ = mux.Close() // only hosts open streams
		}
	}()
	return &session{mux: mux, http: client, heard: heard}, nil
}

// close breaks the session and everything on it; it may be called again.
func (s *session) close() {
	_ = s.mux.Close() // there is nothing to do about it, and the next session begins with a preamble
}

func (s *session) heardAt() time.Time { return time.Unix(0, s.heard.Load()) }

// hearing notes when something was read, and breaks the session of a guest that pings too much.
type hearing struct {
	io.ReadWriteCloser
	at    *atomic.Int64
	guard *pingGuard // used by the multiplexer's one reader
}

func (h *hearing) Read(b []byte) (int, error) {
	n, err := h.ReadWriteCloser.Read(b)
	if n > 0 {
		h.at.Store(time.Now().UnixNano())
	}
	if !h.guard.allow(b[:n]) {
		return 0, fmt.Errorf("%w: pings without end", ErrMalformed)
	}
	return n, err
}
