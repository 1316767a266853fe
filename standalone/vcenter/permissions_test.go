package vcenter_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/vch"
	"github.com/virtual-kubelet/vic/standalone/vcenter"
)

// unpowered is a vCenter none of whose VMs is powered on, and its directory.
func unpowered(t *testing.T) (*vcenter.Server, string) {
	t.Helper()
	dir := t.TempDir()
	vc, err := vcenter.Start(t.Context(), vcenter.Config{Dir: dir, Binary: "/bin/true", Image: "/bin/true"})
	require.NoError(t, err)
	t.Cleanup(vc.Close)
	return vc, dir
}

func TestAWrongPasswordCanBeRehearsed(t *testing.T) {
	vc, _ := unpowered(t)
	to := vc.Target()
	session, err := vsphere.Connect(t.Context(), to)
	require.NoError(t, err)
	session.Close(t.Context())
	require.NoError(t, os.WriteFile(to.PasswordFile, []byte("wrong"), 0o600))
	_, err = vsphere.Connect(t.Context(), to)
	require.ErrorIs(t, err, vsphere.ErrLoginRefused)
	other, _ := unpowered(t)
	secret, err := os.ReadFile(other.Target().PasswordFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to.PasswordFile, secret, 0o600))
	_, err = vsphere.Connect(t.Context(), to)
	require.ErrorIs(t, err, vsphere.ErrLoginRefused, "each has its own")
}

func TestAMissingPrivilegeCanBeRehearsed(t *testing.T) {
	vc, dir := unpowered(t)
	session, err := vsphere.Connect(t.Context(), vc.Target())
	require.NoError(t, err)
	defer session.Close(t.Context())
	cfg := vsphere.Config{Name: "pool", Session: session, Networks: map[string]string{"pods": vcenter.PortGroup}, BootISO: vcenter.BootISO}
	lacking := func() (lacking []string) {
		for _, f := range vch.Check(t.Context(), cfg) {
			if f.Err != nil && f.Subject != "boot ISO" {
				lacking = append(lacking, f.Err.Error())
			}
		}
		return lacking
	}
	require.Empty(t, lacking())
	require.NoError(t, os.WriteFile(vcenter.WithheldFile(dir), []byte("VirtualMachine.Inventory.Create\n"), 0o600))
	require.Equal(t, []string{"user lacks privileges: VirtualMachine.Inventory.Create"}, lacking())

	finder := find.NewFinder(session.Client())
	dc, err := finder.DefaultDatacenter(t.Context())
	require.NoError(t, err)
	folder, err := finder.SetDatacenter(dc).DefaultFolder(t.Context())
	require.NoError(t, err)
	pool, err := finder.DefaultResourcePool(t.Context())
	require.NoError(t, err)
	_, err = folder.CreateVM(t.Context(), types.VirtualMachineConfigSpec{Name: "vm"}, pool, nil)
	require.ErrorContains(t, err, "NoPermission")
	require.NoError(t, os.Remove(vcenter.WithheldFile(dir)))
	assert.Empty(t, lacking())
}
