package vspherevch_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/controllers"
	"github.com/virtual-kubelet/vic/node"
	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/node/vspherevch"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/standalone/vcenter"
)

// simulatedVCH starts a vCenter that is simulated, and returns a VCH there. No VM is ever powered on.
func simulatedVCH(t *testing.T) *node.VCH {
	t.Helper()
	vc, err := vcenter.Start(t.Context(), vcenter.Config{Dir: t.TempDir(), Binary: "/bin/true", Image: "/bin/true"})
	require.NoError(t, err)
	t.Cleanup(vc.Close)
	to := vc.Target()
	v := &node.VCH{Entry: config.Entry{Name: "pool", VCH: config.VCH{
		Subnet: "192.0.2.0/24",
		VSphere: &config.VSphere{
			Address: to.Address, User: to.User, PasswordFile: to.PasswordFile, CAFile: to.CAFile, BootISO: vcenter.BootISO, Network: vcenter.PortGroup,
			Gateway: "192.0.2.1", AdvertiseAddresses: []string{"192.0.2.2:1"},
		},
	}}}
	v.SetDefaults()
	return v
}

func TestAVCHIsOpenedWithItsOwnPlaceForGuests(t *testing.T) {
	v := simulatedVCH(t)
	v.VSphere.GuestListen = "127.0.0.1:0"
	state, err := statedir.At(t.TempDir())
	require.NoError(t, err)
	s := vspherevch.New()
	require.NoError(t, s.Probe(t.Context(), v))
	host, err := s.Open(t.Context(), v, state)
	require.NoError(t, err)
	assert.Equal(t, "vSphere at "+v.VSphere.Address, host.RunsOn)
	assert.Equal(t, "vsphere", host.Capabilities.Hypervisor)
	assert.Equal(t, "bridge", host.Network)
	assert.FileExists(t, filepath.Join(state.Node(), "guests.pem"), "the authority that guests trust is kept")
	capacity, err := host.Hypervisor.Capacity(t.Context())
	require.NoError(t, err)
	assert.NotZero(t, capacity.MemoryBytes)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, host.Run(ctx))
	host.Close()
	require.NoError(t, s.Purge(t.Context(), state))
}

func TestGuestsOfAllVCHsMayDialInAtOnePlace(t *testing.T) {
	v := simulatedVCH(t)
	state, err := statedir.At(t.TempDir())
	require.NoError(t, err)
	s := vspherevch.New()
	require.NoError(t, s.Listen(t.Context(), node.GuestsAt{Address: "127.0.0.1:0", State: state}))
	defer s.Close()
	host, err := s.Open(t.Context(), v, state)
	require.NoError(t, err)
	assert.Nil(t, host.Run, "the process serves them")
	host.Close()
}

func TestAVCHThatIsNotThereIsNamed(t *testing.T) {
	v := simulatedVCH(t)
	v.VSphere.GuestListen, v.VSphere.Pool = "127.0.0.1:0", "/DC0/host/DC0_C0/Resources/none"
	state, err := statedir.At(t.TempDir())
	require.NoError(t, err)
	s := vspherevch.New()
	require.ErrorContains(t, s.Probe(t.Context(), v), "resource pool")
	_, err = s.Open(t.Context(), v, state)
	require.ErrorContains(t, err, "resource pool")
	v.VSphere.GuestListen = "nowhere"
	_, err = s.Open(t.Context(), v, state)
	require.ErrorContains(t, err, "vsphere.guestListen: ")
}

func TestThePasswordIsReadBeforeEachLogin(t *testing.T) {
	v := simulatedVCH(t)
	password, err := os.ReadFile(v.VSphere.PasswordFile)
	require.NoError(t, err)
	ca, err := os.ReadFile(v.VSphere.CAFile)
	require.NoError(t, err)
	asked := 0
	v.Credentials = &controllers.Credentials{Username: v.VSphere.User, CA: ca, Password: func(context.Context) (string, error) {
		asked++
		return strings.TrimSpace(string(password)), nil
	}}
	v.VSphere.User, v.VSphere.PasswordFile, v.VSphere.CAFile = "", "", ""
	s := vspherevch.New()
	for want := range 2 {
		require.NoError(t, s.WithSession(t.Context(), v, func(_ context.Context, cfg vsphere.Config) error {
			assert.Equal(t, "pool", cfg.Name)
			return nil
		}))
		assert.Equal(t, want+1, asked)
	}
}
