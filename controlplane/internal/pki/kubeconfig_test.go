package pki_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/tools/clientcmd"
)

func TestKubeconfigCarriesItsCredentials(t *testing.T) {
	set := ensure(t, config(t.TempDir()), now)
	path := filepath.Join(t.TempDir(), "kubeconfig")

	require.NoError(t, set.WriteKubeconfig(path, "https://127.0.0.1:6443", set.Node))

	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm())
	c, err := clientcmd.BuildConfigFromFlags("", path)
	require.NoError(t, err)
	assert.Equal(t, "https://127.0.0.1:6443", c.Host)
	node, err := os.ReadFile(set.Node.CertFile)
	require.NoError(t, err)
	assert.Equal(t, node, c.CertData)
	assert.NotEmpty(t, c.KeyData)
	assert.NotEmpty(t, c.CAData)
}

func TestKubeconfigStaysAsItIs(t *testing.T) {
	set := ensure(t, config(t.TempDir()), now)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, set.WriteKubeconfig(path, "https://127.0.0.1:6443", set.Admin))
	before, err := os.Stat(path)
	require.NoError(t, err)

	require.NoError(t, set.WriteKubeconfig(path, "https://127.0.0.1:6443", set.Admin))

	after, err := os.Stat(path)
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after))
}
