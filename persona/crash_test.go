package persona_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/persona"
)

// Environment of this program where it is to pull, as a process that can be killed.
const (
	pullDir = "PERSONA_TEST_PULL_DIR"
	pullRef = "PERSONA_TEST_PULL_REF"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(pullDir); dir != "" {
		os.Exit(pullAlone(dir, os.Getenv(pullRef)))
	}
	os.Exit(m.Run())
}

func pullAlone(dir, ref string) int {
	s, err := persona.Open(persona.Config{Dir: dir, Platform: "linux/amd64", InsecureRegistries: []string{"127.0.0.1"}})
	if err == nil {
		_, err = s.Pull(context.Background(), ref, persona.PullOptions{})
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestAKilledProcessLeavesNothingThatIsUsed(t *testing.T) {
	built := build(t, "x", func(s *ociimage.Spec) {
		s.Layers = append(s.Layers, []ociimage.File{{Name: "/second", Content: []byte("second layer")}})
	})
	layers, err := built.Layers()
	require.NoError(t, err)
	second, err := layers[1].Digest()
	require.NoError(t, err)
	var stalled atomic.Bool
	arrived, resume := make(chan struct{}), make(chan struct{})
	var once sync.Once
	r := startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if stalled.Load() && r.Method == http.MethodGet && strings.Contains(r.URL.Path, second.String()) {
				once.Do(func() { close(arrived) })
				<-resume
			}
			next.ServeHTTP(w, r)
		})
	})
	ref := push(t, r, "hello", built)
	stalled.Store(true)

	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), pullDir+"="+dir, pullRef+"="+ref)
	child.Stderr = os.Stderr
	require.NoError(t, child.Start())
	<-arrived
	work, err := os.ReadDir(filepath.Join(dir, "work"))
	require.NoError(t, err)
	require.Len(t, work, 1, "the other process is at work")
	open(t, persona.Config{Dir: dir})
	require.DirExists(t, filepath.Join(dir, "work", work[0].Name()), "and is left alone")
	require.NoError(t, child.Process.Kill())
	require.Error(t, child.Wait())
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".tmp-1"), []byte("half an index"), 0o600))
	stalled.Store(false)
	close(resume)

	s := open(t, persona.Config{Dir: dir})
	requireClean(t, dir, 0)
	img, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
	diskHolds(t, s, img, "second layer")
	requireClean(t, dir, 1)
}

func BenchmarkImport(b *testing.B) {
	spec := ociimage.Spec{Layers: [][]ociimage.File{{{Name: "/big", Content: make([]byte, 32<<20)}}}}
	img, err := ociimage.Build(spec)
	require.NoError(b, err)
	path := filepath.Join(b.TempDir(), "image.tar")
	require.NoError(b, ociimage.WriteDockerSave(img, "big", path))
	b.SetBytes(32 << 20)
	for b.Loop() {
		s, err := persona.Open(persona.Config{Dir: b.TempDir(), Platform: "linux/amd64"})
		require.NoError(b, err)
		_, err = s.Import(b.Context(), path, "")
		require.NoError(b, err)
	}
}
