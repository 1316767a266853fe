package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestVCHFlagsWinOverTheFileAndTheFileOverGovc(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(path, []byte(strings.ReplaceAll(vsphereNode, "  address: vcenter.example\n", "")), 0o600))
	t.Setenv("GOVC_URL", "other.example")
	t.Setenv("GOVC_USERNAME", "nobody")
	t.Setenv("GOVC_RESOURCE_POOL", "/DC0/host/C0/Resources/p")
	t.Setenv("GOVC_TLS_CA_CERTS", "/ca.pem")
	flags := vchFlags{config: path}
	n, err := flags.file()
	require.NoError(t, err)
	assert.Equal(t, "other.example", n.VSphere.Address)
	assert.Equal(t, "vic", n.VSphere.User, "the file's")
	assert.Equal(t, "/p", n.VSphere.PasswordFile)
	assert.Equal(t, "/DC0/host/C0/Resources/p", n.VSphere.Pool)
	assert.Equal(t, "/ca.pem", n.VSphere.CAFile)

	flags.user, flags.passwordFile = "administrator", "/admin"
	n, err = flags.file()
	require.NoError(t, err)
	assert.Equal(t, "administrator", n.VSphere.User)
	assert.Equal(t, "/admin", n.VSphere.PasswordFile)

	_, err = readNodeFile(path)
	require.ErrorContains(t, err, "vsphere.address is missing", "a node takes nothing from its environment")
}

func TestVCHFlagsMeanOneOfSeveral(t *testing.T) {
	one := "{nodeName: NAME, subnet: 192.0.2.0/24, vsphere: {address: v, user: u, passwordFile: /p, bootISO: i, network: n, gateway: 192.0.2.1, advertiseAddresses: [\"192.0.2.2:1\"]}}"
	path := filepath.Join(t.TempDir(), "node.yaml")
	text := "guestListen: \":1\"\nvchs: [" + strings.ReplaceAll(one, "NAME", "a") + ", " + strings.ReplaceAll(one, "NAME", "b") + ", {nodeName: c}]"
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	all, err := (&vchFlags{config: path}).files()
	require.NoError(t, err)
	assert.Len(t, all, 2, "c is this machine's")
	_, err = (&vchFlags{config: path}).file()
	require.ErrorContains(t, err, "--node says which: a, b")
	n, err := (&vchFlags{config: path, node: "b"}).file()
	require.NoError(t, err)
	assert.Equal(t, "b", n.NodeName)
	for _, node := range []string{"c", "d"} {
		_, err = (&vchFlags{config: path, node: node}).file()
		require.ErrorContains(t, err, "no node "+node)
	}
	_, err = (&vchFlags{config: path, user: "u"}).file()
	require.ErrorContains(t, err, "--password-file")
}
