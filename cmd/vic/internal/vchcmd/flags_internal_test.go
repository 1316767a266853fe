package vchcmd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/cli"
)

// pool is an entry on vSphere.
const pool = `{name: NAME, subnet: 192.0.2.0/24, vsphere: {address: vcenter.example, user: vic, passwordFile: /p, bootISO: i, network: n,
  gateway: 192.0.2.1, advertiseAddresses: ["192.0.2.2:1"]}}`

// write writes a file, and returns its path.
func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "node.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestFlagsWinOverTheFileAndTheFileOverGovc(t *testing.T) {
	path := write(t, "vch: "+strings.ReplaceAll(strings.ReplaceAll(pool, "address: vcenter.example, ", ""), "NAME", "pool"))
	t.Setenv("GOVC_URL", "other.example")
	t.Setenv("GOVC_USERNAME", "nobody")
	t.Setenv("GOVC_RESOURCE_POOL", "/DC0/host/C0/Resources/p")
	t.Setenv("GOVC_TLS_CA_CERTS", "/ca.pem")
	flags := vchFlags{config: path}
	e, err := flags.entry()
	require.NoError(t, err)
	assert.Equal(t, "other.example", e.VSphere.Address)
	assert.Equal(t, "vic", e.VSphere.User, "the file's")
	assert.Equal(t, "/p", e.VSphere.PasswordFile)
	assert.Equal(t, "/DC0/host/C0/Resources/p", e.VSphere.Pool)
	assert.Equal(t, "/ca.pem", e.VSphere.CAFile)

	flags.user, flags.passwordFile = "administrator", "/admin"
	e, err = flags.entry()
	require.NoError(t, err)
	assert.Equal(t, "administrator", e.VSphere.User)
	assert.Equal(t, "/admin", e.VSphere.PasswordFile)
}

func TestFlagsMeanOneOfSeveral(t *testing.T) {
	path := write(t, "guestListen: \":1\"\nvchs:\n- "+strings.ReplaceAll(pool, "NAME", "a")+"\n- "+strings.ReplaceAll(pool, "NAME", "b")+"\n- {name: c}")
	all, err := (&vchFlags{config: path}).entries()
	require.NoError(t, err)
	assert.Len(t, all, 2, "c is this machine's")
	_, err = (&vchFlags{config: path}).entry()
	require.ErrorContains(t, err, "--node says which: a, b")
	e, err := (&vchFlags{config: path, node: "b"}).entry()
	require.NoError(t, err)
	assert.Equal(t, "b", e.Name)
	for _, node := range []string{"c", "d"} {
		_, err = (&vchFlags{config: path, node: node}).entry()
		require.ErrorContains(t, err, "no node "+node)
	}
}

func TestAnObjectNeedsAnAccountOfItsAdministrator(t *testing.T) {
	flags := vchFlags{config: "../../../../examples/virtualcontainerhost.yaml"}
	_, err := flags.entry()
	require.ErrorContains(t, err, "spec.vsphere.user: missing")
	flags.user, flags.passwordFile = "administrator", "/admin"
	e, err := flags.entry()
	require.NoError(t, err)
	assert.Equal(t, "vic-vsphere-1", e.Name)
	assert.Equal(t, "administrator", e.VSphere.User)
}

func TestAFileMustHaveAVCHOnVSphere(t *testing.T) {
	for text, says := range map[string]string{
		"vch: {name: n}":      "no vsphere section",
		"vchs: [{name: 1}]":   "vchs[0].name: 1 is not text",
		"vch: {vsphere: {}}":  "vch.name: missing",
		"vch: {vsphere: 192}": "vch.vsphere: want a map",
	} {
		_, err := (&vchFlags{config: write(t, text)}).entry()
		var misuse *cli.MisuseError
		require.ErrorAs(t, err, &misuse)
		require.ErrorContains(t, err, says)
	}
}
