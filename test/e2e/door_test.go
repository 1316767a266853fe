//go:build e2e

package e2e_test

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/internal/testregistry"
)

// door is a way to the API server that can be shut, which is what a node sees of an API server that is away. Others have
// their own.
type door struct {
	listener net.Listener
	to       string

	mu    sync.Mutex // guards what follows
	shut  bool
	conns map[net.Conn]bool
}

// openDoor has the node of a kubeconfig go through a door from now on.
func openDoor(t *testing.T, kubeconfig string) *door {
	t.Helper()
	config, err := clientcmd.LoadFromFile(kubeconfig)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &door{listener: l, conns: map[net.Conn]bool{}}
	for _, c := range config.Clusters {
		server, err := url.Parse(c.Server)
		require.NoError(t, err)
		d.to, server.Host = server.Host, l.Addr().String()
		c.Server = server.String()
	}
	require.NoError(t, clientcmd.WriteToFile(*config, kubeconfig))
	var passing sync.WaitGroup
	passing.Go(func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			passing.Go(func() { d.pass(conn) }) // ends when one of both sides, or the door, is closed
		}
	})
	t.Cleanup(func() {
		_ = l.Close() // what was accepted ends with set
		d.set(true)
		passing.Wait()
	})
	return d
}

// pass takes one connection to the API server.
func (d *door) pass(conn net.Conn) {
	defer conn.Close()
	server, err := net.Dial("tcp", d.to)
	if err != nil {
		return
	}
	defer server.Close()
	if !d.enter(conn) {
		return
	}
	defer d.leave(conn)
	go func() { // ends with conn or server
		_, _ = io.Copy(server, conn)
		_ = server.Close()
	}()
	_, _ = io.Copy(conn, server)
}

func (d *door) enter(conn net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conns[conn] = true
	return !d.shut
}

func (d *door) leave(conn net.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, conn)
}

// set shuts the door, and who is in it is cut off, or opens it again.
func (d *door) set(shut bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.shut = shut
	for conn := range d.conns {
		_ = conn.Close() // pass ends
	}
}

// slowRegistry is a registry that can keep an image's blobs from whoever pulls it.
type slowRegistry struct {
	*testregistry.Registry

	mu   sync.Mutex // guards held
	held map[string]*hold
}

// hold keeps the blobs of one repository.
type hold struct {
	asked, free chan struct{}
	once        sync.Once // guards asked
}

func startSlowRegistry(t *testing.T) *slowRegistry {
	t.Helper()
	s := &slowRegistry{held: map[string]*hold{}}
	var err error
	s.Registry, err = testregistry.Start(t.Context(), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.wait(r)
			next.ServeHTTP(w, r)
		})
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// wait returns when the blob that r asks for is free, or nobody wants it any more.
func (s *slowRegistry) wait(r *http.Request) {
	repo, _, blob := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/")
	s.mu.Lock()
	h := s.held[repo]
	s.mu.Unlock()
	if !blob || h == nil || r.Method != http.MethodGet {
		return
	}
	h.once.Do(func() { close(h.asked) })
	select {
	case <-h.free:
	case <-r.Context().Done():
	}
}

// image puts the test image with one more layer into a repository whose blobs are held.
func (s *slowRegistry) image(t *testing.T, repo string, layer []byte) (ref string, h *hold) {
	t.Helper()
	h = &hold{asked: make(chan struct{}), free: make(chan struct{})}
	s.mu.Lock()
	s.held[repo] = h
	s.mu.Unlock()
	ref, err := s.Push(t.Context(), repo+":1", withLayer(t, layer))
	require.NoError(t, err)
	return ref, h
}

// withLayer is the test image with one more file, which makes it another image.
func withLayer(t *testing.T, content []byte) v1.Image {
	t.Helper()
	other, err := ociimage.Build(ociimage.Spec{Layers: [][]ociimage.File{{{Name: "/more", Content: content}}}})
	require.NoError(t, err)
	layers, err := other.Layers()
	require.NoError(t, err)
	img, err := mutate.AppendLayers(builtImage, layers...)
	require.NoError(t, err)
	return img
}
