package node

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/virtual-kubelet/vic/config"
)

// probeTimeout is how long a probe may take for its request.
const probeTimeout = 10 * time.Second

// serveHealth answers /healthz and /readyz at an address until ctx ends, as the manager of several nodes does; an empty address
// serves nothing.
func serveHealth(ctx context.Context, group *errgroup.Group, address string, ready healthz.Checker) error {
	if address == "" {
		return nil
	}
	on, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return config.Wrong("healthListen", err)
	}
	probes := http.NewServeMux()
	for path, checks := range map[string]map[string]healthz.Checker{"/healthz": nil, "/readyz": {"node": ready}} {
		probes.Handle(path, http.StripPrefix(path, &healthz.Handler{Checks: checks}))
	}
	server := &http.Server{Handler: probes, ReadHeaderTimeout: probeTimeout, BaseContext: func(net.Listener) context.Context { return ctx }}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() }) // it only repeats what Serve returns
	group.Go(func() error {
		defer stop()
		if err := server.Serve(on); !errors.Is(err, http.ErrServerClosed) {
			return config.Wrong("healthListen", err)
		}
		return nil
	})
	return nil
}
