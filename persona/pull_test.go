package persona_test

import (
	"bytes"
	"context"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/persona"
)

func TestPullTakesEveryCompression(t *testing.T) {
	r := startRegistry(t, nil)
	for _, c := range []compression.Compression{compression.None, compression.GZip, compression.ZStd} {
		t.Run(string(c), func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, persona.Config{Dir: dir})
			built := build(t, "hello there", func(s *ociimage.Spec) { s.Compression = c })
			img, err := s.Pull(t.Context(), push(t, r, "hello:"+string(c), built), persona.PullOptions{})
			require.NoError(t, err)
			require.Equal(t, digestOf(t, built), img.Digest)
			require.Equal(t, []string{r.Host + "/hello:" + string(c)}, img.Names)
			require.Equal(t, []string{r.Host + "/hello@" + img.Digest}, img.RepoDigests)
			diskHolds(t, s, img, "hello there")
			requireClean(t, dir, 1)
		})
	}
}

func TestPullOfAnIndexTakesThePlatform(t *testing.T) {
	r := startRegistry(t, nil)
	index := mutate.AppendManifests(empty.Index, forPlatform(t, "arm64"), forPlatform(t, "amd64"))
	ref, err := r.PushIndex(t.Context(), "hello", index)
	require.NoError(t, err)
	top, err := index.Digest()
	require.NoError(t, err)

	s := open(t, persona.Config{})
	img, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
	diskHolds(t, s, img, "for amd64")
	for _, name := range []string{ref, r.Host + "/hello@" + top.String(), r.Host + "/hello@" + img.Digest} {
		found, err := s.Lookup(name)
		require.NoError(t, err)
		require.Equal(t, img, found)
	}

	_, err = open(t, persona.Config{Platform: "linux/s390x"}).Pull(t.Context(), ref, persona.PullOptions{})
	var platform *persona.PlatformError
	require.ErrorAs(t, err, &platform)
	require.Equal(t, &persona.PlatformError{Want: "linux/s390x", Found: []string{"linux/amd64", "linux/arm64"}}, platform)
}

func forPlatform(t *testing.T, arch string) mutate.IndexAddendum {
	t.Helper()
	p := &v1.Platform{OS: "linux", Architecture: arch}
	img := build(t, "for "+arch, func(s *ociimage.Spec) { s.Platform = p })
	return mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}}
}

func TestPullByDigestWorksWithoutATag(t *testing.T) {
	r := startRegistry(t, nil)
	built := build(t, "x")
	push(t, r, "hello", built)
	s := open(t, persona.Config{})
	img, err := s.Pull(t.Context(), r.Host+"/hello@"+digestOf(t, built), persona.PullOptions{})
	require.NoError(t, err)
	require.Empty(t, img.Names)
	require.Equal(t, []string{r.Host + "/hello@" + img.Digest}, img.RepoDigests)
	require.NoError(t, s.Remove(t.Context(), img.RepoDigests[0]))
	_, err = s.Lookup(img.ID)
	require.ErrorIs(t, err, persona.ErrNotFound)
}

func TestPullOfAMovedTagBringsTheNewImage(t *testing.T) {
	r := startRegistry(t, nil)
	s := open(t, persona.Config{})
	ref := push(t, r, "hello", build(t, "old"))
	old, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
	push(t, r, "hello", build(t, "new"))
	img, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
	diskHolds(t, s, img, "new")

	old, err = s.Lookup(old.ID)
	require.NoError(t, err, "a pod may still run the old one")
	require.Empty(t, old.Names)
}

func TestSecondPullFetchesNoLayer(t *testing.T) {
	var count blobCounter
	r := startRegistry(t, count.wrap)
	ref := push(t, r, "hello", build(t, "x"))
	s := open(t, persona.Config{})
	first, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 2, count.n.Load(), "configuration and layer")
	second, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
	require.Equal(t, first, second)
	require.EqualValues(t, 3, count.n.Load(), "configuration")
}

func TestConcurrentPullsConvertOnce(t *testing.T) {
	var count blobCounter
	r := startRegistry(t, count.wrap)
	ref := push(t, r, "hello", build(t, "x", func(s *ociimage.Spec) {
		s.Layers = append(s.Layers, []ociimage.File{{Name: "/big", Content: bytes.Repeat([]byte("x"), 4<<20)}})
	}))
	dir := t.TempDir()
	// Two stores on one directory stand for two processes: their locks are as separate.
	stores := []*persona.Store{open(t, persona.Config{Dir: dir}), open(t, persona.Config{Dir: dir})}
	const pulls = 12
	var g errgroup.Group
	for i := range pulls {
		g.Go(func() error {
			_, err := stores[i%len(stores)].Pull(t.Context(), ref, persona.PullOptions{})
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, pulls+2, count.n.Load(), "a configuration each and the two layers once")
	requireClean(t, dir, 1)
	images, err := stores[0].List()
	require.NoError(t, err)
	require.Len(t, images, 1)
}

func TestPullFromALyingRegistryLeavesNothing(t *testing.T) {
	built := build(t, "hello there", func(s *ociimage.Spec) { s.Compression = compression.GZip })
	other := build(t, "hello world", func(s *ociimage.Spec) { s.Compression = compression.GZip })
	var lie func(w http.ResponseWriter, r *http.Request, next http.Handler)
	r := startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { lie(w, r, next) })
	})
	truth := func(w http.ResponseWriter, r *http.Request, next http.Handler) { next.ServeHTTP(w, r) }
	lie = truth
	push(t, r, "hello:latest", built)
	push(t, r, "hello:other", other)
	swap := func(from, to string) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.URL.Path = strings.ReplaceAll(r.URL.Path, from, to)
			next.ServeHTTP(w, r)
		}
	}
	tests := map[string]struct {
		ref string
		lie func(http.ResponseWriter, *http.Request, http.Handler)
	}{
		"another layer":         {":latest", swap(layerDigest(t, built), layerDigest(t, other))},
		"another configuration": {":latest", swap(configDigest(t, built), configDigest(t, other))},
		"another manifest":      {"@" + digestOf(t, built), swap(digestOf(t, built), digestOf(t, other))},
		"half a layer": {":latest", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if !strings.Contains(r.URL.Path, layerDigest(t, built)) {
				next.ServeHTTP(w, r)
				return
			}
			_, _ = w.Write([]byte("\x1f\x8b\x08\x00half"))
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			lie = tt.lie
			dir := t.TempDir()
			_, err := open(t, persona.Config{Dir: dir}).Pull(t.Context(), r.Host+"/hello"+tt.ref, persona.PullOptions{})
			require.ErrorIs(t, err, persona.ErrDigestMismatch)
			requireClean(t, dir, 0)
		})
	}
	lie = truth
}

func TestPullRefusesALayerThatIsNotTheConfigurations(t *testing.T) {
	r := startRegistry(t, nil)
	built := build(t, "x")
	config, err := built.ConfigFile()
	require.NoError(t, err)
	config = config.DeepCopy()
	config.RootFS.DiffIDs[0].Hex = strings.Repeat("0", 64)
	lying, err := mutate.ConfigFile(built, config)
	require.NoError(t, err)
	dir := t.TempDir()
	_, err = open(t, persona.Config{Dir: dir}).Pull(t.Context(), push(t, r, "hello", lying), persona.PullOptions{})
	require.ErrorIs(t, err, persona.ErrDigestMismatch)
	requireClean(t, dir, 0)
}

func TestPullRefusesWhatIsNoContainerImage(t *testing.T) {
	r := startRegistry(t, nil)
	chart := mutate.ConfigMediaType(build(t, "x"), "application/vnd.cncf.helm.config.v1+json")
	_, err := open(t, persona.Config{}).Pull(t.Context(), push(t, r, "chart", chart), persona.PullOptions{})
	require.ErrorIs(t, err, persona.ErrInvalidImage)
	require.ErrorContains(t, err, "helm")

	l, err := build(t, "x").Layers()
	require.NoError(t, err)
	secret, err := mutate.Append(empty.Image, mutate.Addendum{Layer: l[0], MediaType: types.OCILayer + "+encrypted"})
	require.NoError(t, err)
	_, err = open(t, persona.Config{}).Pull(t.Context(), push(t, r, "secret", secret), persona.PullOptions{})
	require.ErrorIs(t, err, persona.ErrInvalidImage)
	require.ErrorContains(t, err, "encrypted")
}

func TestPullSaysWhyItFailed(t *testing.T) {
	r := startRegistry(t, nil)
	s := open(t, persona.Config{})
	push(t, r, "arm", build(t, "x", func(s *ociimage.Spec) { s.Platform = &v1.Platform{OS: "linux", Architecture: "arm64"} }))
	tests := map[string]struct {
		ref  string
		want error
	}{
		"an image that is not there":        {r.Host + "/nothing:1", persona.ErrNotFound},
		"an image for another architecture": {r.Host + "/arm", persona.ErrPlatform},
		"a name with a space":               {"he llo", persona.ErrInvalidName},
		"a name with capitals":              {r.Host + "/Hello", persona.ErrInvalidName},
		"no name":                           {"", persona.ErrInvalidName},
		"a digest that is none":             {"hello@sha256:123", persona.ErrInvalidName},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := s.Pull(t.Context(), tt.ref, persona.PullOptions{})
			require.ErrorIs(t, err, tt.want)
			require.ErrorContains(t, err, `"`+tt.ref+`"`)
		})
	}
}

func TestPullUsesCredentials(t *testing.T) {
	r := startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			if subtle.ConstantTimeCompare([]byte(user+password), []byte("mesecret")) == 0 && r.Header.Get("X-Test") == "" && r.Method == http.MethodGet {
				w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	s := open(t, persona.Config{})
	_, err := s.Pull(t.Context(), r.Host+"/hello", persona.PullOptions{})
	require.ErrorIs(t, err, persona.ErrUnauthorized)
	_, err = s.Pull(t.Context(), r.Host+"/hello", persona.PullOptions{Auth: []persona.Credentials{{Username: "me", Password: "secret"}}})
	require.ErrorIs(t, err, persona.ErrNotFound, "it may look now")
}

func TestPullGoesToTheMirrorFirst(t *testing.T) {
	var asked []string
	mirror := startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.Header.Get("Authorization") != "" {
				asked = append(asked, r.URL.Path)
			}
			next.ServeHTTP(w, r)
		})
	})
	origin := startRegistry(t, nil)
	push(t, mirror, "copies/library/hello", build(t, "mirrored"))
	push(t, origin, "only/here", build(t, "original"))
	s := open(t, persona.Config{Mirrors: map[string]string{
		"docker.io": "http://" + mirror.Host + "/copies", origin.Host: "http://" + mirror.Host,
	}})

	opts := persona.PullOptions{Auth: []persona.Credentials{{Username: "me", Password: "secret"}}}
	img, err := s.Pull(t.Context(), "hello", opts)
	require.NoError(t, err)
	require.Equal(t, []string{"hello:latest"}, img.Names)
	diskHolds(t, s, img, "mirrored")
	img, err = s.Pull(t.Context(), origin.Host+"/only/here", opts)
	require.NoError(t, err, "what the mirror lacks comes from the registry")
	diskHolds(t, s, img, "original")
	require.Empty(t, asked, "the registry's credentials are not for its mirror")
}

func TestPullFollowsNoRedirectToPlainHTTPElsewhere(t *testing.T) {
	r := startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
				http.Redirect(w, r, "http://192.0.2.1/metadata", http.StatusTemporaryRedirect)
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	_, err := open(t, persona.Config{}).Pull(t.Context(), push(t, r, "hello", build(t, "x")), persona.PullOptions{})
	require.ErrorContains(t, err, "192.0.2.1: plain HTTP is allowed")
}

func TestPullEndsWithItsContext(t *testing.T) {
	stall := make(chan struct{})
	arrived := make(chan struct{})
	var once sync.Once
	built := build(t, "x")
	r := startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, layerDigest(t, built)) {
				once.Do(func() { close(arrived) })
				<-stall
			}
			next.ServeHTTP(w, r)
		})
	})
	defer close(stall)
	ref := push(t, r, "hello", built)
	dir := t.TempDir()
	s := open(t, persona.Config{Dir: dir})
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := s.Pull(ctx, ref, persona.PullOptions{})
		failed <- err
	}()
	<-arrived

	// Another caller waits for the first no longer than it wants to.
	short, done := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer done()
	_, err := s.Pull(short, ref, persona.PullOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)

	cancel()
	require.ErrorIs(t, <-failed, context.Canceled)
	requireClean(t, dir, 0)
}

func TestPullShowsProgress(t *testing.T) {
	r := startRegistry(t, nil)
	ref := push(t, r, "hello", build(t, "x", func(s *ociimage.Spec) {
		s.Layers = append(s.Layers, []ociimage.File{{Name: "/more", Content: []byte("more")}})
	}))
	var last persona.Progress
	_, err := open(t, persona.Config{}).Pull(t.Context(), ref, persona.PullOptions{Progress: func(p persona.Progress) {
		assert.GreaterOrEqual(t, p.Bytes, last.Bytes)
		last = p
	}})
	require.NoError(t, err)
	require.Equal(t, persona.Progress{Layer: 2, Layers: 2, Bytes: last.TotalBytes, TotalBytes: last.TotalBytes}, last)
	require.NotZero(t, last.TotalBytes)
}

func layerDigest(t *testing.T, img v1.Image) string {
	t.Helper()
	layers, err := img.Layers()
	require.NoError(t, err)
	d, err := layers[0].Digest()
	require.NoError(t, err)
	return d.String()
}

func configDigest(t *testing.T, img v1.Image) string {
	t.Helper()
	d, err := img.ConfigName()
	require.NoError(t, err)
	return d.String()
}
