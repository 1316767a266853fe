package channel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/hashicorp/yamux"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	headerTimeout = 30 * time.Second
	headerBytes   = 16 << 10
	acceptBacklog = 256
	// writeTimeout is long, since VMs may be emulated on busy hosts, and ends streams to a host that has stopped.
	writeTimeout = time.Minute
)

// Serve answers host connections on port with h, until port fails.
func Serve(ctx context.Context, port io.ReadWriter, h http.Handler) error {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, MaxHeaderBytes: headerBytes,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(logging.From(ctx).Handler(), slog.LevelError),
	}
	return wire.Accept(port, func(stream io.ReadWriteCloser) {
		if err := session(srv, stream); err != nil {
			logging.From(ctx).DebugContext(ctx, "host connection ended", "err", err)
		}
	})
}

// session serves one host connection to its end.
func session(srv *http.Server, stream io.ReadWriteCloser) error {
	defer stream.Close()
	s, err := yamux.Server(stream, config())
	if err != nil {
		return fmt.Errorf("begin session: %w", err)
	}
	defer s.Close()
	if err := srv.Serve(s); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

func config() *yamux.Config {
	c := yamux.DefaultConfig()
	c.AcceptBacklog = acceptBacklog
	c.KeepAliveInterval = wire.KeepAlive
	c.ConnectionWriteTimeout = writeTimeout
	c.LogOutput, c.Logger = nil, log.New(io.Discard, "", 0)
	return c
}
