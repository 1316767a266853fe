package persona_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/internal/testregistry"
	"github.com/virtual-kubelet/vic/persona"
)

// secretOf are credentials that holder has.
func secretOf(holder, password string) persona.Credentials {
	return persona.Credentials{Username: "me", Password: password, Holder: holder}
}

func TestPullSignsInAsTheRegistryAsks(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"basic": testregistry.BasicAuth("me", "right"), "token": testregistry.TokenAuth("me", "right"),
	} {
		t.Run(name, func(t *testing.T) {
			r := startRegistry(t, wrap)
			ref := push(t, r, "private/hello", build(t, "secret"))
			s := open(t, persona.Config{})
			_, err := s.Pull(t.Context(), ref, persona.PullOptions{})
			require.ErrorIs(t, err, persona.ErrUnauthorized)
			_, err = s.Pull(t.Context(), ref, persona.PullOptions{Auth: []persona.Credentials{secretOf("a", "wrong"), secretOf("b", "worse")}})
			require.ErrorIs(t, err, persona.ErrUnauthorized)
			require.NotContains(t, err.Error(), "worse")

			img, err := s.Pull(t.Context(), ref, persona.PullOptions{Auth: []persona.Credentials{secretOf("a", "wrong"), secretOf("b", "right")}})
			require.NoError(t, err, "the second will do")
			diskHolds(t, s, img, "secret")
			require.Equal(t, map[string]persona.Grant{r.Host + "/private/hello": {Holders: []string{"b"}, Delivered: true}}, img.Grants)
		})
	}
}

func TestImageIsForThoseWhoCouldPullIt(t *testing.T) {
	guarded := startRegistry(t, testregistry.BasicAuth("me", "right"))
	public := startRegistry(t, nil)
	built := build(t, "secret")
	private := push(t, guarded, "private/hello:1", built)
	s := open(t, persona.Config{})
	pull := func(ref string, auth ...persona.Credentials) persona.Image {
		t.Helper()
		img, err := s.Pull(t.Context(), ref, persona.PullOptions{Auth: auth})
		require.NoError(t, err)
		return img
	}
	img := pull(private, secretOf("a", "right"))
	assert.True(t, img.MayUse(private, []string{"x", "a"}))
	assert.False(t, img.MayUse(private, []string{"b"}))
	assert.False(t, img.MayUse(private, nil))
	assert.True(t, img.MayUse(img.ID, []string{"a"}))
	assert.False(t, img.MayUse(img.ID, nil))

	img = pull(private, secretOf("b", "right"))
	assert.True(t, img.MayUse(private, []string{"a"}))
	assert.True(t, img.MayUse(private, []string{"b"}))

	open := push(t, public, "hello:1", built)
	img = pull(open)
	assert.True(t, img.MayUse(open, nil))
	assert.False(t, img.MayUse(private, nil), "the same image elsewhere is another matter")
	assert.True(t, img.MayUse(img.ID, nil))

	img = pull(private, secretOf("", "right"))
	assert.True(t, img.MayUse(private, nil), "credentials of the machine are everyone's")
	found, err := s.Lookup(private)
	require.NoError(t, err)
	assert.Equal(t, img, found, "it is remembered")
}

func TestImportedImageIsForEveryone(t *testing.T) {
	s := open(t, persona.Config{})
	img, err := s.Import(t.Context(), dockerSave(t, build(t, "x"), "hello"), "")
	require.NoError(t, err)
	assert.True(t, img.MayUse("hello", nil))
	assert.True(t, persona.Image{Names: []string{"hello:latest"}}.MayUse("hello", nil), "so is one of an older index")
}

// counted counts requests for layers, by their Range.
type counted struct {
	mu     sync.Mutex // guards ranges
	ranges []string
}

func (c *counted) add(r *http.Request) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ranges = append(c.ranges, r.Header.Get("Range"))
	return len(c.ranges)
}

// bigLayer is an image with a layer of more than 3 MiB that does not compress.
func bigLayer(t *testing.T) v1.Image {
	t.Helper()
	return build(t, "x", func(s *ociimage.Spec) {
		s.Compression = compression.None
		s.Layers[0] = append(s.Layers[0], ociimage.File{Name: "/big", Content: []byte(strings.Repeat("0123456789abcdef", 200_000))})
	})
}

func TestBrokenBlobGoesOnWhereItBroke(t *testing.T) {
	tests := map[string]struct {
		breaks int
		ranges bool // the registry has them
	}{
		"with ranges":    {3, true},
		"without ranges": {1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			built := bigLayer(t)
			var seen counted
			r := startRegistry(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.Contains(r.URL.Path, layerDigest(t, built)) {
						next.ServeHTTP(w, r)
						return
					}
					if seen.add(r) <= tt.breaks {
						w = &cutting{ResponseWriter: w, left: 700_000}
					}
					if !tt.ranges {
						r.Header.Del("Range")
					}
					next.ServeHTTP(w, r)
				})
			})
			s := open(t, persona.Config{})
			img, err := s.Pull(t.Context(), push(t, r, "big", built), persona.PullOptions{})
			require.NoError(t, err)
			diskHolds(t, s, img, "0123456789abcdef")
			require.Len(t, seen.ranges, tt.breaks+1)
			require.Empty(t, seen.ranges[0])
			for _, later := range seen.ranges[1:] {
				require.Regexp(t, `^bytes=[1-9]\d*-\d+$`, later)
			}
		})
	}
}

// cutting breaks the connection after some bytes of the body.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) > c.left {
		_, _ = c.ResponseWriter.Write(p[:c.left])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func TestBlobThatVanishesMeanwhileIsNotAskedForAgain(t *testing.T) {
	built := bigLayer(t)
	var seen counted
	r := startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.Contains(r.URL.Path, layerDigest(t, built)) {
				next.ServeHTTP(w, r)
				return
			}
			if seen.add(r) == 1 {
				w = &cutting{ResponseWriter: w, left: 700_000}
			} else {
				r.URL.Path = strings.ReplaceAll(r.URL.Path, layerDigest(t, built), "sha256:"+strings.Repeat("0", 64))
			}
			next.ServeHTTP(w, r)
		})
	})
	dir := t.TempDir()
	_, err := open(t, persona.Config{Dir: dir}).Pull(t.Context(), push(t, r, "big", built), persona.PullOptions{})
	require.ErrorIs(t, err, persona.ErrNotFound)
	require.ErrorContains(t, err, "broke off after")
	require.Len(t, seen.ranges, 2)
	requireClean(t, dir, 0)
}

func TestBusyRegistryIsAskedAgainWhenItSays(t *testing.T) {
	for name, status := range map[string]int{"429": http.StatusTooManyRequests, "503": http.StatusServiceUnavailable} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			var first atomic.Pointer[time.Time]
			r := startRegistry(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.URL.Path, "/manifests/") && asked.Add(1) == 1 {
						now := time.Now()
						first.Store(&now)
						w.Header().Set("Retry-After", "1")
						w.WriteHeader(status)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			_, err := open(t, persona.Config{}).Pull(t.Context(), push(t, r, "hello", build(t, "x")), persona.PullOptions{})
			require.NoError(t, err)
			require.EqualValues(t, 2, asked.Load())
			require.GreaterOrEqual(t, time.Since(*first.Load()), time.Second)
		})
	}
}

func TestRegistryThatAsksForALongWaitIsUnavailable(t *testing.T) {
	r := startRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = w.Write([]byte(`{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit"}]}`))
		})
	})
	_, err := open(t, persona.Config{}).Pull(t.Context(), r.Host+"/hello", persona.PullOptions{})
	require.ErrorIs(t, err, persona.ErrUnavailable)
	require.ErrorContains(t, err, "for another 1h0m0s")
	require.ErrorContains(t, err, "You have reached your pull rate limit")
}

func TestRegistryThatIsNotThereIsUnavailable(t *testing.T) {
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	host := listener.Addr().String()
	require.NoError(t, listener.Close())
	s := open(t, persona.Config{})
	_, err = s.Pull(t.Context(), host+"/hello", persona.PullOptions{Auth: []persona.Credentials{secretOf("a", "x"), secretOf("b", "y")}})
	require.ErrorIs(t, err, persona.ErrUnavailable)
	require.Equal(t, 1, strings.Count(err.Error(), persona.ErrUnavailable.Error()), "it is not asked again with other credentials: %v", err)
}

func TestRedirectTakesNoCredentialsAlong(t *testing.T) {
	for name, wrap := range map[string]func(http.Handler) http.Handler{
		"basic": testregistry.BasicAuth("me", "right"), "token": testregistry.TokenAuth("me", "right"),
	} {
		t.Run(name, func(t *testing.T) {
			var leaked atomic.Int64
			built := build(t, "x")
			store := startRegistry(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" {
						leaked.Add(1)
					}
					next.ServeHTTP(w, r)
				})
			})
			push(t, store, "hello", built)
			r := startRegistry(t, func(next http.Handler) http.Handler {
				return wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.URL.Path, "/blobs/") {
						http.Redirect(w, r, "http://"+store.Host+r.URL.Path, http.StatusTemporaryRedirect)
						return
					}
					next.ServeHTTP(w, r)
				}))
			})
			s := open(t, persona.Config{})
			img, err := s.Pull(t.Context(), push(t, r, "hello", built), persona.PullOptions{Auth: []persona.Credentials{secretOf("a", "right")}})
			require.NoError(t, err)
			diskHolds(t, s, img, "x")
			require.Zero(t, leaked.Load())
		})
	}
}

func TestIndexWithAttestationsAndUnknownEntries(t *testing.T) {
	r := startRegistry(t, nil)
	attestation := mutate.IndexAddendum{Add: build(t, "attestation"), Descriptor: v1.Descriptor{
		Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
		Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest"},
	}}
	odd := mutate.IndexAddendum{
		Add:        static.NewLayer([]byte("odd"), "application/vnd.example.unknown.v9+json"),
		Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
	}
	index := mutate.IndexMediaType(mutate.AppendManifests(empty.Index, odd, attestation, forPlatform(t, "amd64")), types.OCIImageIndex)
	ref, err := r.PushIndex(t.Context(), "hello", index)
	require.NoError(t, err)
	s := open(t, persona.Config{})
	img, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
	diskHolds(t, s, img, "for amd64")
}

func TestBareNameMeansDockerHub(t *testing.T) {
	var paths []string
	mirror := startRegistry(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			paths = append(paths, r.URL.Path)
			if r.URL.Path != "/v2/" {
				w.WriteHeader(http.StatusForbidden)
			}
		})
	})
	s := open(t, persona.Config{Mirrors: map[string]string{"docker.io": "http://" + mirror.Host}, RegistryHostsDir: hostsDir(t, map[string]string{
		"docker.io/hosts.toml": fmt.Sprintf("server = %q\n", "http://"+mirror.Host),
	})})
	_, err := s.Pull(t.Context(), "hello", persona.PullOptions{})
	require.ErrorIs(t, err, persona.ErrUnauthorized)
	require.Contains(t, paths, "/v2/library/hello/manifests/latest")
}
