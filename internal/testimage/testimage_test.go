package testimage_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/testimage"
)

const busybox = "/usr/bin/busybox"

func TestHelloIsTheSameEveryTime(t *testing.T) {
	var archives [][]byte
	for range 2 {
		spec, err := testimage.Hello(t.Context(), os.Args[0], busybox)
		require.NoError(t, err)
		img, err := testimage.Build(spec)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "hello.tar")
		require.NoError(t, testimage.WriteDockerSave(img, "hello:latest", path))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		archives = append(archives, b)
	}
	require.Equal(t, archives[0], archives[1])
}

func TestHelloHasAClientThatWorksWithoutTheCLibrary(t *testing.T) {
	spec, err := testimage.Hello(t.Context(), os.Args[0], busybox)
	require.NoError(t, err)
	links := map[string]string{}
	for _, layer := range spec.Layers {
		for _, f := range layer {
			links[f.Name] = f.Link
		}
	}
	require.Equal(t, "hello", links["/bin/fetch"])
	require.NotContains(t, links, "/bin/wget", "busybox's can crash")
	require.Contains(t, links, "/bin/sh")
}

func TestAnImageHasItsLayersAndPlatform(t *testing.T) {
	img, err := testimage.Build(testimage.Spec{
		Layers: [][]testimage.File{
			{{Name: "/a/b", Content: []byte("1")}, {Name: "/a/", Mode: 0o700}, {Name: "/c", Link: "a/b"}},
			{{Name: "/a/.wh.b"}},
		},
		Config:      v1.Config{Cmd: []string{"x"}},
		Compression: compression.GZip,
	})
	require.NoError(t, err)
	layers, err := img.Layers()
	require.NoError(t, err)
	require.Len(t, layers, 2)
	for _, l := range layers {
		require.NoError(t, validate.Layer(l))
	}
	config, err := img.ConfigFile()
	require.NoError(t, err)
	assert.Equal(t, "amd64", config.Architecture)
	assert.Equal(t, []string{"x"}, config.Config.Cmd)
}

func TestAMissingSourceIsNamed(t *testing.T) {
	_, err := testimage.Build(testimage.Spec{Layers: [][]testimage.File{{{Name: "/a", Source: "/nowhere"}}}})
	require.ErrorContains(t, err, "/nowhere")
	_, err = testimage.Hello(t.Context(), os.Args[0], "/nowhere")
	require.ErrorContains(t, err, "/nowhere")
}

func TestTheRegistryGivesBackWhatItGot(t *testing.T) {
	r, err := testimage.StartRegistry(t.Context(), nil)
	require.NoError(t, err)
	img, err := testimage.Build(testimage.Spec{
		Layers: [][]testimage.File{{{Name: "/a", Content: []byte("1")}}}, Compression: compression.GZip,
	})
	require.NoError(t, err)
	full, err := r.Push(t.Context(), "team/app:1", img)
	require.NoError(t, err)
	require.Equal(t, r.Host+"/team/app:1", full)

	ref, err := name.ParseReference(full)
	require.NoError(t, err)
	got, err := remote.Image(ref)
	require.NoError(t, err)
	require.NoError(t, validate.Image(got))
	require.NoError(t, r.Close())
	_, err = remote.Image(ref)
	require.Error(t, err)
}
