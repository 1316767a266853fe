package testregistry_test

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/internal/testregistry"
)

func TestTheRegistryGivesBackWhatItGot(t *testing.T) {
	r, err := testregistry.Start(t.Context(), nil)
	require.NoError(t, err)
	img, err := ociimage.Build(ociimage.Spec{
		Layers: [][]ociimage.File{{{Name: "/a", Content: []byte("1")}}}, Compression: compression.GZip,
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
