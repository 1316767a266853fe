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
