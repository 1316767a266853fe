package persona_test

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/internal/testregistry"
	"github.com/virtual-kubelet/vic/persona"
)

// withoutLayers is a registry whose owner knows manifest and configuration of an image, and has none of its layers.
func withoutLayers(t *testing.T, img v1.Image) func(http.Handler) http.Handler {
	t.Helper()
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, layerDigest(t, img)) {
				http.NotFound(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func TestWhoKnowsOnlyTheManifestOfAPrivateImageDoesNotGetIt(t *testing.T) {
	secret := build(t, "secret")
	guarded := startRegistry(t, testregistry.BasicAuth("me", "right"))
	private := push(t, guarded, "private/hello:1", secret)
	mine := push(t, startRegistry(t, withoutLayers(t, secret)), "mine/hello:1", secret)
	for name, auth := range map[string][]persona.Credentials{
		"without credentials": nil, "with credentials of the attacker": {secretOf("attacker", "mine")}, "with the machine's": {secretOf("", "node")},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, persona.Config{Dir: dir})
			before, err := s.Pull(t.Context(), private, persona.PullOptions{Auth: []persona.Credentials{secretOf("victim", "right")}})
			require.NoError(t, err)

			_, err = s.Pull(t.Context(), mine, persona.PullOptions{Auth: auth})
			require.ErrorIs(t, err, persona.ErrNotFound)
			after, err := s.Lookup(private)
			require.NoError(t, err)
			require.Equal(t, before, after, "nobody else may have it, by name or by ID")
			requireClean(t, dir, 1)
		})
	}
}

func TestWhoHasShownThatTheyMayHaveAnImageFetchesNoLayerElsewhere(t *testing.T) {
	secret := build(t, "secret")
	guarded := startRegistry(t, testregistry.BasicAuth("me", "right"))
	private := push(t, guarded, "private/hello:1", secret)
	copied := push(t, startRegistry(t, withoutLayers(t, secret)), "copy/hello:1", secret)
	s := open(t, persona.Config{})
	pull := func(ref string, holders ...string) (persona.Image, error) {
		auth := []persona.Credentials{}
		for _, h := range holders {
			auth = append(auth, secretOf(h, "right"))
		}
		return s.Pull(t.Context(), ref, persona.PullOptions{Auth: auth})
	}
	_, err := pull(private, "a")
	require.NoError(t, err)

	img, err := pull(copied, "a")
	require.NoError(t, err, "who brought it from one repository has its layers")
	assert.True(t, img.MayUse(copied, []string{"a"}))
	assert.True(t, img.MayUse(img.ID, []string{"a"}))

	_, err = pull(copied, "b")
	require.ErrorIs(t, err, persona.ErrNotFound, "a repository that never delivered the layers vouches for nobody")

	img, err = pull(private, "b")
	require.NoError(t, err)
	assert.True(t, img.MayUse(private, []string{"b"}))
	assert.False(t, img.MayUse(copied, []string{"b"}))
}

func TestAPublicImageIsFetchedOnceFromAnywhere(t *testing.T) {
	built := build(t, "x")
	ref := push(t, startRegistry(t, nil), "hello", built)
	copied := push(t, startRegistry(t, withoutLayers(t, built)), "copy/hello", built)
	s := open(t, persona.Config{})
	_, err := s.Pull(t.Context(), ref, persona.PullOptions{})
	require.NoError(t, err)
	img, err := s.Pull(t.Context(), copied, persona.PullOptions{})
	require.NoError(t, err)
	assert.True(t, img.MayUse(copied, nil))
}

func TestARegistryThatLiesAboutLayersThatAreHereIsFoundOut(t *testing.T) {
	secret, other := build(t, "secret"), build(t, "other")
	private := push(t, startRegistry(t, testregistry.BasicAuth("me", "right")), "private/hello:1", secret)
	lying := startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet {
				r.URL.Path = strings.ReplaceAll(r.URL.Path, layerDigest(t, secret), layerDigest(t, other))
			}
			next.ServeHTTP(w, r)
		})
	})
	push(t, lying, "mine/hello:2", other)
	mine := push(t, lying, "mine/hello:1", secret)
	s := open(t, persona.Config{})
	_, err := s.Pull(t.Context(), private, persona.PullOptions{Auth: []persona.Credentials{secretOf("victim", "right")}})
	require.NoError(t, err)
	_, err = s.Pull(t.Context(), mine, persona.PullOptions{})
	require.ErrorIs(t, err, persona.ErrDigestMismatch)
}

// Before an index said who delivered the layers, a grant could be had without them.
func TestByIDAnImageIsForThoseOfARepositoryThatDeliveredIt(t *testing.T) {
	img := persona.Image{
		ID: "sha256:" + strings.Repeat("1", 64), Names: []string{"a.example/x:1", "b.example/x:1"},
		Grants: map[string]persona.Grant{
			"a.example/x": {Holders: []string{"victim"}, Delivered: true},
			"b.example/x": {Everyone: true, Holders: []string{"attacker"}},
		},
	}
	assert.True(t, img.MayUse(img.ID, []string{"victim"}))
	assert.False(t, img.MayUse(img.ID, []string{"attacker"}))
	assert.False(t, img.MayUse(img.ID, nil))
	assert.False(t, img.MayUse("a.example/x:1", []string{"attacker"}))
	assert.True(t, img.MayUse("b.example/x:1", nil))
}

func TestAnImportOfALayoutWithoutItsLayersDoesNotOpenAPrivateImage(t *testing.T) {
	secret := build(t, "secret")
	private := push(t, startRegistry(t, testregistry.BasicAuth("me", "right")), "private/hello:1", secret)
	s := open(t, persona.Config{})
	_, err := s.Pull(t.Context(), private, persona.PullOptions{Auth: []persona.Credentials{secretOf("victim", "right")}})
	require.NoError(t, err)
	_, err = s.Import(t.Context(), layoutWithoutLayers(t, secret), "mine/hello:1")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// layoutWithoutLayers writes img as a layout that lacks its layer.
func layoutWithoutLayers(t *testing.T, img v1.Image) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, ociimage.WriteLayout(img, "hello", dir))
	require.NoError(t, os.Remove(filepath.Join(dir, "blobs", strings.Replace(layerDigest(t, img), ":", "/", 1))))
	return dir
}
