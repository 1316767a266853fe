package testregistry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Registry is a registry on loopback that forgets everything when it is closed.
type Registry struct {
	// Host is where it listens, as host:port: the first part of its images' names.
	Host   string
	store  http.Handler
	server *http.Server
	done   chan struct{}
}

// Start starts a registry on a free port of 127.0.0.1. If wrap is not nil, what comes over the network goes through
// wrap's result; Push does not.
func Start(ctx context.Context, wrap func(http.Handler) http.Handler) (*Registry, error) {
	return StartTLS(ctx, nil, wrap)
}

// StartTLS is Start over TLS; without a configuration it is plain HTTP.
func StartTLS(ctx context.Context, config *tls.Config, wrap func(http.Handler) http.Handler) (*Registry, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	host := listener.Addr().String()
	if config != nil {
		listener = tls.NewListener(listener, config)
	}
	quiet := log.New(io.Discard, "", 0)
	store := registry.New(registry.Logger(quiet))
	handler := store
	if wrap != nil {
		handler = wrap(store)
	}
	r := &Registry{
		Host:   host,
		store:  store,
		server: &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: quiet},
		done:   make(chan struct{}),
	}
	go func() {
		// Ends with Close.
		defer close(r.done)
		_ = r.server.Serve(listener) // says that it was closed
	}()
	return r, nil
}

// Close stops the registry and drops what is under way.
func (r *Registry) Close() error {
	err := r.server.Close()
	<-r.done
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Push puts img under repo, which may have a tag, and returns its full name: 127.0.0.1:port/repo:tag.
func (r *Registry) Push(ctx context.Context, repo string, img v1.Image) (string, error) {
	ref, err := name.ParseReference(r.Host + "/" + repo)
	if err != nil {
		return "", err
	}
	return ref.String(), remote.Write(ref, img, remote.WithContext(ctx), remote.WithTransport(direct{r.store}))
}

// PushIndex puts an index of images for several platforms under repo.
func (r *Registry) PushIndex(ctx context.Context, repo string, index v1.ImageIndex) (string, error) {
	ref, err := name.ParseReference(r.Host + "/" + repo)
	if err != nil {
		return "", err
	}
	return ref.String(), remote.WriteIndex(ref, index, remote.WithContext(ctx), remote.WithTransport(direct{r.store}))
}

// direct asks a handler without a network.
type direct struct{ handler http.Handler }

// RoundTrip returns the handler's answer.
func (d direct) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	if req.Body == nil {
		req.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	d.handler.ServeHTTP(answer, req)
	resp := answer.Result()
	resp.Request = req
	return resp, nil
}
