package ociimage_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
)

const busybox = "/usr/bin/busybox"

func TestHelloIsTheSameEveryTime(t *testing.T) {
	var archives [][]byte
	for range 2 {
		spec, err := ociimage.Hello(t.Context(), os.Args[0], busybox)
		require.NoError(t, err)
		img, err := ociimage.Build(spec)
		require.NoError(t, err)
		path := filepath.Join(t.TempDir(), "hello.tar")
		require.NoError(t, ociimage.WriteDockerSave(img, "hello:latest", path))
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		archives = append(archives, b)
	}
	require.Equal(t, archives[0], archives[1])
}

func TestHelloHasAClientThatWorksWithoutTheCLibrary(t *testing.T) {
	spec, err := ociimage.Hello(t.Context(), os.Args[0], busybox)
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
	img, err := ociimage.Build(ociimage.Spec{
		Layers: [][]ociimage.File{
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
	_, err := ociimage.Build(ociimage.Spec{Layers: [][]ociimage.File{{{Name: "/a", Source: "/nowhere"}}}})
	require.ErrorContains(t, err, "/nowhere")
	_, err = ociimage.Hello(t.Context(), os.Args[0], "/nowhere")
	require.ErrorContains(t, err, "/nowhere")
}
