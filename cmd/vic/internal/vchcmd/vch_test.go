package vchcmd_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/cmd/vic/internal/clitest"
	"github.com/virtual-kubelet/vic/cmd/vic/internal/vchcmd"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/standalone/vcenter"
)

// bench is a vCenter that is simulated, with no VMs, and a file with a VCH there.
type bench struct{ file, iso, dir string }

func newBench(t *testing.T) bench {
	t.Helper()
	// No VM is ever powered on.
	vc, err := vcenter.Start(t.Context(), vcenter.Config{Dir: t.TempDir(), Binary: "/bin/true", Image: "/bin/true"})
	require.NoError(t, err)
	t.Cleanup(vc.Close)
	b := bench{filepath.Join(t.TempDir(), "node.yaml"), filepath.Join(t.TempDir(), "boot.iso"), t.TempDir()}
	require.NoError(t, os.WriteFile(b.iso, []byte("boots"), 0o600))
	to := vc.Target()
	text := fmt.Sprintf(`
dir: %s
vch:
  name: pool
  subnet: 192.0.2.0/24
  vsphere:
    {address: %q, user: %s, passwordFile: %s, caFile: %s, network: %s, gateway: 192.0.2.1, guestListen: ":1", advertiseAddresses: ["192.0.2.2:1"],
      pool: /DC0/host/DC0_C0/Resources/vic, folder: /DC0/vm/vic, bootISO: "[LocalDS_0] isos/boot.iso"}
`, b.dir, to.Address, to.User, to.PasswordFile, to.CAFile, vcenter.PortGroup)
	require.NoError(t, os.WriteFile(b.file, []byte(text), 0o600))
	return b
}

// vch runs `vic vch`.
func (b bench) vch(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return clitest.Execute(t, vchcmd.NewCommand(), append(args, "--config", b.file)...)
}

func TestAVCHIsMadeCheckedShownAndRemoved(t *testing.T) {
	b := newBench(t)
	out, err := b.vch(t, "check")
	require.EqualError(t, err, "the VCH is not ready for a node")
	for _, missing := range []string{"resource pool", "VM folder", "boot ISO"} {
		assert.Regexp(t, "(?m)^WRONG +"+missing, out)
	}
	assert.Regexp(t, "(?m)^ok +datacenter +/DC0$", out)

	assert.Regexp(t, `(?m)^ok +addresses +192\.0\.2\.1 to 192\.0\.2\.254 of 192\.0\.2\.0/24`, out)
	assert.Regexp(t, `(?m)^ok +privileges +\d+ looked at`, out)

	out, err = b.vch(t, "create", "--dry-run")
	require.NoError(t, err)
	assert.Contains(t, out, "missing, which --boot-iso FILE mends: boot ISO [LocalDS_0] isos/boot.iso\n")
	out, err = b.vch(t, "create", "--boot-iso", b.iso, "--dry-run")
	require.NoError(t, err)
	assert.Contains(t, out, "would make: VM folder /DC0/vm/vic\n")
	out, err = b.vch(t, "create", "--boot-iso", b.iso, "--memory-limit", "4Gi")
	require.NoError(t, err)
	assert.Contains(t, out, "made: resource pool /DC0/host/DC0_C0/Resources/vic\n")
	out, err = b.vch(t, "create", "--boot-iso", b.iso)
	require.NoError(t, err)
	assert.Contains(t, out, "exists: VM folder /DC0/vm/vic\n")
	out, err = b.vch(t, "check")
	require.NoError(t, err, out)

	out, err = b.vch(t, "ls")
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^NODE +ADDRESS +CPU +MEMORY +FREE +STORAGE FREE +VMS +RUNNING +STATE$`, out)
	assert.Regexp(t, `(?m)^pool +\S+ +\d+m? +4Gi +[\d.]+Gi +[\d.]+Gi +0 +0 +ok$`, out)
	out, err = b.vch(t, "inspect")
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^Resource pool: +/DC0/host/DC0_C0/Resources/vic$`, out)
	assert.Regexp(t, `(?m)^Pod VMs: +0, 0 of them running$`, out)
	out, err = b.vch(t, "ls", "-o", "json")
	require.NoError(t, err)
	var views []map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &views))
	require.Len(t, views, 1)
	assert.Equal(t, "pool", views[0]["vch"])

	out, err = b.vch(t, "rm", "--dry-run")
	require.NoError(t, err)
	assert.Contains(t, out, "would remove: VM folder /DC0/vm/vic\n")
	state, err := statedir.Open(b.dir)
	require.NoError(t, err)
	_, err = b.vch(t, "rm")
	require.ErrorIs(t, err, statedir.ErrInUse)
	require.ErrorContains(t, err, "stop the node first")
	require.NoError(t, state.Close())
	out, err = b.vch(t, "rm")
	require.NoError(t, err)
	assert.Contains(t, out, "removed: VM folder /DC0/vm/vic\n")
	out, err = b.vch(t, "ls")
	require.NoError(t, err, "what is wrong with one is in its row")
	assert.Regexp(t, `(?m)^pool +\S+ +- .* resource pool`, out)
	out, err = b.vch(t, "inspect", "-o", "json")
	require.ErrorContains(t, err, "VCH of node pool: ")
	assert.Contains(t, out, `"error": `)
}

func TestThePasswordOfAnAccountIsReadFromItsFile(t *testing.T) {
	b := newBench(t)
	_, err := b.vch(t, "check", "--user", "nobody", "--password-file", "/none")
	require.ErrorContains(t, err, "connect to vSphere at ")
	require.ErrorContains(t, err, "/none")
}

func TestAddressesThatAnotherVCHOfTheFileHasAreRefused(t *testing.T) {
	b := newBench(t)
	text, err := os.ReadFile(b.file)
	require.NoError(t, err)
	_, entry, found := strings.Cut(string(text), "vch:\n")
	require.True(t, found)
	entry = "- " + strings.TrimSpace(strings.ReplaceAll(entry, ", guestListen: \":1\"", ""))
	with := func(name, first, last string) string {
		return strings.NewReplacer("name: pool", "name: "+name+"\n  port: 0", "gateway:", "firstAddress: "+first+", lastAddress: "+last+", gateway:").Replace(entry)
	}
	write := func(secondFirst string) {
		vchs := with("pool", "192.0.2.10", "192.0.2.19") + "\n" + with("other", secondFirst, "192.0.2.29")
		require.NoError(t, os.WriteFile(b.file, fmt.Appendf(nil, "dir: %s\nguestListen: \":1\"\nvchs:\n%s\n", b.dir, vchs), 0o600))
	}
	write("192.0.2.20")
	out, err := b.vch(t, "check", "--node", "pool")
	require.Error(t, err, "there is nothing of it yet")
	assert.Regexp(t, `(?m)^ok +addresses +192\.0\.2\.10 to 192\.0\.2\.19`, out)
	write("192.0.2.19")
	out, err = b.vch(t, "check", "--node", "pool")
	require.Error(t, err)
	assert.Regexp(t, `(?m)^WRONG +addresses`, out)
	assert.Contains(t, out, "node other has 192.0.2.19 to 192.0.2.29 of the same port group")
}
