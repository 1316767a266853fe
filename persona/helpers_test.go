package persona_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/internal/testregistry"
	"github.com/virtual-kubelet/vic/persona"
)

func open(t *testing.T, cfg persona.Config) *persona.Store {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Platform == "" {
		cfg.Platform = "linux/amd64"
	}
	cfg.InsecureRegistries = append(cfg.InsecureRegistries, plain.hosts()...)
	s, err := persona.Open(cfg)
	require.NoError(t, err)
	return s
}

// plain are the registries without TLS that tests have started.
var plain registries

type registries struct {
	mu  sync.Mutex // guards all
	all []string
}

func (r *registries) add(host string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, host)
}

func (r *registries) hosts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// build returns an image whose only file says what.
func build(t *testing.T, what string, edit ...func(*ociimage.Spec)) v1.Image {
	t.Helper()
	spec := ociimage.Spec{
		Layers: [][]ociimage.File{{{Name: "/etc/what", Content: []byte(what)}}},
		Config: v1.Config{
			Entrypoint: []string{"/bin/sh"}, Cmd: []string{"-c", what}, Env: []string{"A=b"}, User: "1000:1000", WorkingDir: "/etc",
			StopSignal: "SIGINT", ExposedPorts: map[string]struct{}{"80/tcp": {}, "443/tcp": {}}, Volumes: map[string]struct{}{"/data": {}},
		},
	}
	for _, e := range edit {
		e(&spec)
	}
	img, err := ociimage.Build(spec)
	require.NoError(t, err)
	return img
}

// dockerSave writes img as an archive and returns its path.
func dockerSave(t *testing.T, img v1.Image, name string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image.tar")
	require.NoError(t, ociimage.WriteDockerSave(img, name, path))
	return path
}

func startRegistry(t *testing.T, wrap func(http.Handler) http.Handler) *testregistry.Registry {
	t.Helper()
	r, err := testregistry.Start(t.Context(), wrap)
	require.NoError(t, err)
	plain.add(r.Host)
	t.Cleanup(func() { assert.NoError(t, r.Close()) })
	return r
}

func push(t *testing.T, r *testregistry.Registry, repo string, img v1.Image) string {
	t.Helper()
	ref, err := r.Push(t.Context(), repo, img)
	require.NoError(t, err)
	return ref
}

// requireClean fails the test if the store in dir holds anything but the index and want disks.
func requireClean(t *testing.T, dir string, want int) {
	t.Helper()
	work, err := os.ReadDir(filepath.Join(dir, "work"))
	require.NoError(t, err)
	require.Empty(t, work)
	disks, err := os.ReadDir(filepath.Join(dir, "disks"))
	require.NoError(t, err)
	require.Len(t, disks, want)
	top, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range top {
		require.Contains(t, []string{"disks", "index.json", "index.lock", "work"}, e.Name())
	}
}

// diskHolds fails the test unless the disk of img has text somewhere.
func diskHolds(t *testing.T, s *persona.Store, img persona.Image, text string) {
	t.Helper()
	src := s.Source(img)
	require.Equal(t, img.DiskDigest, src.Digest)
	r, err := src.Open()
	require.NoError(t, err)
	content, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Len(t, content, int(src.SizeBytes))
	require.Contains(t, string(content), text)
}

// blobCounter counts the layers and configurations that are fetched.
type blobCounter struct{ n atomic.Int64 }

func (c *blobCounter) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			c.n.Add(1)
		}
		next.ServeHTTP(w, r)
	})
}

func digestOf(t *testing.T, img v1.Image) string {
	t.Helper()
	d, err := img.Digest()
	require.NoError(t, err)
	return fmt.Sprint(d)
}
