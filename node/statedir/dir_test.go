package statedir_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/node/statedir"
)

func TestOpenRefusesADirectoryInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	first, err := statedir.Open(path)
	require.NoError(t, err)
	_, err = statedir.Open(path)
	require.ErrorIs(t, err, statedir.ErrInUse)
	require.ErrorContains(t, err, strconv.Itoa(os.Getpid()))

	require.NoError(t, first.Close())
	again, err := statedir.Open(path)
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

func TestOpenMakesAPrivateDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b")
	d, err := statedir.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestADirectoryIsOfOneCluster(t *testing.T) {
	d, err := statedir.Open(t.TempDir())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	require.NoError(t, d.Claim("one"))
	require.NoError(t, d.Claim("one"))
	err = d.Claim("two")
	require.ErrorIs(t, err, statedir.ErrOfAnother)
	require.EqualError(t, err, "state directory "+d.Path+" is of cluster one, another one than two, which the API server is of")
	require.NoError(t, d.Claim("one"), "a refusal changes nothing")
}

func TestDefaultPathFollowsXDG(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	path, err := statedir.DefaultPath()
	require.NoError(t, err)
	require.Equal(t, "/state/vic", path)

	t.Setenv("XDG_STATE_HOME", "relative")
	t.Setenv("HOME", "/home/u")
	path, err = statedir.DefaultPath()
	require.NoError(t, err)
	require.Equal(t, "/home/u/.local/state/vic", path)
}

func TestEverythingOfAProcessIsInItsDirectory(t *testing.T) {
	d, err := statedir.At("/state")
	require.NoError(t, err)
	for want, got := range map[string]string{
		"/state/kubeconfig": d.Kubeconfig(), "/state/controlplane": d.ControlPlane(), "/state/controlplane/vic-node.kubeconfig": d.NodeKubeconfig(),
		"/state/images": d.Images(), "/state/vch": d.VCH(), "/state/run": d.Runs(), "/state/node": d.Node(), "/state/vcenter": d.Simulator(),
		"/state/vchs/a": d.VCHOf("a").Path, "/state/vchs/a/vch": d.VCHOf("a").VCH(),
	} {
		require.Equal(t, want, got)
	}
	require.NoError(t, d.Close(), "what was never opened is closed")
}

func TestTheNodesOfAProcessAreListed(t *testing.T) {
	d, err := statedir.At(filepath.Join(t.TempDir(), "state"))
	require.NoError(t, err)
	several, err := d.VCHs()
	require.NoError(t, err)
	require.Empty(t, several)
	for _, name := range []string{"b", "a"} {
		one, err := statedir.Open(d.VCHOf(name).Path)
		require.NoError(t, err)
		require.NoError(t, one.Close())
	}
	several, err = d.VCHs()
	require.NoError(t, err)
	require.Len(t, several, 2)
	require.Equal(t, d.VCHOf("a").Path, several[0].Path)
	require.NoError(t, several[0].Purge())
	require.NoDirExists(t, several[0].Path)
	require.NoError(t, several[0].Purge(), "it is gone")
}
