package qemuvch_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/qemuvch"
	"github.com/virtual-kubelet/vic/node/statedir"
)

// settings are those with a guest image of those files.
func settings(t *testing.T, files ...string) *config.Node {
	t.Helper()
	n := config.DefaultNode()
	n.GuestImage, n.AllowContainer = t.TempDir(), true
	for _, name := range files {
		require.NoError(t, os.WriteFile(filepath.Join(n.GuestImage, name), []byte("x"), 0o600))
	}
	return n
}

func TestAGuestImageHasAKernelAndAnInitrd(t *testing.T) {
	n := settings(t, "vmlinuz", "initrd.zst")
	image, err := qemuvch.GuestImage(n)
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(n.GuestImage, "vmlinuz"), image.Kernel)
	assert.Equal(t, filepath.Join(n.GuestImage, "initrd.zst"), image.Initrd)
	require.NoError(t, qemuvch.New(n).Check())
	for _, files := range [][]string{nil, {"vmlinuz"}, {"initrd.zst"}} {
		err := qemuvch.New(settings(t, files...)).Check()
		require.ErrorContains(t, err, "guest image (--guest-image; make guest-image builds it): ")
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	beside, err := node.GuestImageDir(config.DefaultNode())
	require.NoError(t, err)
	assert.Equal(t, "guest", filepath.Base(beside), "what the build leaves beside the program")
}

func TestNothingOfAVCHIsLookedUpBeforeItIsOpened(t *testing.T) {
	require.NoError(t, qemuvch.New(config.DefaultNode()).Probe(t.Context(), nil))
}

func TestAVCHThatCannotBeOpenedSaysWhy(t *testing.T) {
	state, err := statedir.At(t.TempDir())
	require.NoError(t, err)
	v := &node.VCH{Entry: config.Entry{Name: "n", VCH: config.VCH{Subnet: "everywhere"}}}
	_, err = qemuvch.New(settings(t)).Open(t.Context(), v, state)
	require.ErrorContains(t, err, "subnet: ")
	_, err = qemuvch.Open(t.Context(), qemuvch.Config{Settings: settings(t), VCH: &v.VCH, State: state})
	require.ErrorContains(t, err, "guest image (--guest-image")
	t.Setenv("PATH", "")
	_, err = qemuvch.Open(t.Context(), qemuvch.Config{Settings: settings(t, "vmlinuz", "initrd.zst"), VCH: &v.VCH, State: state})
	require.ErrorContains(t, err, "find QEMU")
}

func TestTheNetworkIsThatOfTheStateDirectory(t *testing.T) {
	state, err := statedir.At("/state")
	require.NoError(t, err)
	cfg := qemuvch.NetworkConfig(state, netip.MustParsePrefix("10.9.8.0/24"))
	assert.Equal(t, "/state/vch", cfg.Dir)
	assert.Equal(t, "10.9.8.0/24", cfg.Subnet.String())
	assert.True(t, cfg.UplinkNAT)
}

func TestThereIsNothingToPurgeOfAVCHThatNeverWas(t *testing.T) {
	state, err := statedir.At(filepath.Join(t.TempDir(), "none"))
	require.NoError(t, err)
	require.NoError(t, qemuvch.New(settings(t)).Purge(t.Context(), state))
	assert.NoDirExists(t, state.Path)
}
