//go:build !race

package vsphere_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

func TestAVCHOnVSAN(t *testing.T) {
	v := withGuests(testvcenter.Cluster(t))
	v.OnVSAN()
	h := v.open()
	image, err := h.EnsureDisk(t.Context(), source("image"))
	require.NoError(t, err)
	_, err = h.Create(t.Context(), spec(portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image0", Ref: image}))
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	require.NoError(t, h.Destroy(t.Context(), uid))
	h.Close()
	next := v.open()
	again, err := next.EnsureDisk(t.Context(), source("image"))
	require.NoError(t, err)
	assert.Equal(t, image, again, "it was found")
}
