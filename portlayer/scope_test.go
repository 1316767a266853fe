package portlayer_test

import (
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

func TestNewScopeRefuses(t *testing.T) {
	subnet := netip.MustParsePrefix("10.9.0.0/24")
	tests := map[string]struct {
		cfg  portlayer.ScopeConfig
		want string
	}{
		"a scope without a name":         {portlayer.ScopeConfig{Subnet: subnet}, "no name"},
		"a scope without a subnet":       {portlayer.ScopeConfig{Name: "s"}, "no subnet"},
		"a gateway from elsewhere":       {portlayer.ScopeConfig{Name: "s", Subnet: subnet, Gateway: netip.MustParseAddr("10.8.0.1")}, "outside"},
		"a first address from elsewhere": {portlayer.ScopeConfig{Name: "s", Subnet: subnet, First: netip.MustParseAddr("10.8.0.9")}, "10.8.0.9 is outside"},
		"a last address before the first": {portlayer.ScopeConfig{
			Name: "s", Subnet: subnet, First: netip.MustParseAddr("10.9.0.9"), Last: netip.MustParseAddr("10.9.0.8"),
		}, "no room"},
		"a subnet without room":        {portlayer.ScopeConfig{Name: "s", Subnet: netip.MustParsePrefix("10.9.0.0/31")}, "no room"},
		"a subnet of a single address": {portlayer.ScopeConfig{Name: "s", Subnet: netip.MustParsePrefix("10.9.0.5/32")}, "no room"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := portlayer.NewScope(tt.cfg)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

// joined is the interface of a draft, and the draft.
func joined(t *testing.T, e *portlayer.Engine, uid string) (portlayer.NIC, *portlayer.Handle) {
	t.Helper()
	h, err := e.New(t.Context(), identity(uid))
	require.NoError(t, err)
	require.NoError(t, h.JoinScope("default"))
	require.NoError(t, h.JoinScope("default"), "joining twice is joining once")
	require.Len(t, h.Spec().NICs, 1)
	return h.Spec().NICs[0], h
}

func newSmallEngine(t *testing.T, hv portlayer.Hypervisor) *portlayer.Engine {
	t.Helper()
	e, err := portlayer.NewEngine(t.Context(), portlayer.EngineConfig{
		Hypervisor: hv,
		RunDir:     t.TempDir(),
		Scopes: []portlayer.ScopeConfig{{
			Name:     "default",
			Subnet:   netip.MustParsePrefix("10.9.0.0/29"), // .1 to .6
			Gateway:  netip.MustParseAddr("10.9.0.1"),
			Reserved: []netip.Addr{netip.MustParseAddr("10.9.0.3")},
			MTU:      1400,
		}},
	})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	return e
}

func TestAddressesAreGivenInTurnAndRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newSmallEngine(t, memhv.New(memhv.Config{}))
		first, h := joined(t, e, "a")
		assert.Equal(t, netip.MustParsePrefix("10.9.0.2/29"), first.Address)
		assert.Equal(t, netip.MustParseAddr("10.9.0.1"), first.Gateway)
		assert.Equal(t, 1400, first.MTU)
		for _, uid := range []string{"b", "c", "d"} { // .4 to .6
			joined(t, e, uid)
		}
		x, err := e.New(t.Context(), identity("x"))
		require.NoError(t, err)
		require.ErrorIs(t, x.JoinScope("default"), portlayer.ErrNoAddress)
		require.ErrorIs(t, x.JoinScope("none"), portlayer.ErrNotFound)

		e.Discard(h)
		require.ErrorIs(t, x.JoinScope("default"), portlayer.ErrNoAddress, "a freed address rests")
		again, h := joined(t, e, "a")
		assert.Equal(t, first, again, "its former holder gets it at once")
		e.Discard(h)
		<-time.After(3 * time.Minute) // in a bubble
		require.NoError(t, x.JoinScope("default"))
		assert.Equal(t, first.Address, x.Spec().NICs[0].Address)
		e.Close()
	})
}

func TestAScopeMayHaveAPartOfItsSubnet(t *testing.T) {
	hardware := func(a netip.Addr) net.HardwareAddr { return append(net.HardwareAddr{0, 0}, a.AsSlice()...) }
	e, err := portlayer.NewEngine(t.Context(), portlayer.EngineConfig{
		Hypervisor: memhv.New(memhv.Config{}), RunDir: t.TempDir(),
		Scopes: []portlayer.ScopeConfig{{
			Name: "default", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Hardware: hardware,
			First: netip.MustParseAddr("10.9.0.20"), Last: netip.MustParseAddr("10.9.0.21"),
		}},
	})
	require.NoError(t, err)
	t.Cleanup(e.Close)
	for _, uid := range []string{"20", "21"} {
		nic, _ := joined(t, e, uid)
		assert.Equal(t, "10.9.0."+uid+"/24", nic.Address.String())
		assert.Equal(t, hardware(nic.Address.Addr()).String(), nic.MAC)
	}
	h, err := e.New(t.Context(), identity("22"))
	require.NoError(t, err)
	require.ErrorIs(t, h.JoinScope("default"), portlayer.ErrNoAddress)
}

func TestHardwareAddressesAreLocalAndUnique(t *testing.T) {
	e := newEngine(t, memhv.New(memhv.Config{}), t.TempDir())
	seen := map[string]bool{}
	for _, uid := range []string{"a", "b", "c"} {
		nic, _ := joined(t, e, uid)
		mac, err := net.ParseMAC(nic.MAC)
		require.NoError(t, err)
		assert.Equal(t, byte(0x02), mac[0]&0x03, "locally administered and unicast")
		assert.False(t, seen[nic.MAC])
		seen[nic.MAC] = true
	}
}

func TestLeasesAreWhatVMsCarry(t *testing.T) {
	hv, dir := memhv.New(memhv.Config{}), t.TempDir()
	e := newEngine(t, hv, dir)
	first := commit(t, e, "a").Spec.NICs[0].Address
	second := commit(t, e, "b").Spec.NICs[0].Address
	require.Equal(t, first.Addr().Next(), second.Addr())
	require.NoError(t, e.Remove(t.Context(), "a"))
	e.Close()

	e = newEngine(t, hv, dir)
	third, h := joined(t, e, "c")
	assert.Equal(t, second.Addr().Next(), third.Address.Addr(), "the next one is past the highest in use")
	e.Discard(h)

	hv.Vanish("b")
	vm := await(t, e, "b", func(vm portlayer.PodVM) bool { return vm.State == portlayer.StateRemoved })
	assert.Equal(t, second, vm.Spec.NICs[0].Address)
	again, _ := joined(t, e, "b")
	assert.Equal(t, second, again.Address, "a pod whose VM vanished gets its address again")
}

func TestADiscardedDraftLeavesTheAddressOfItsVM(t *testing.T) {
	e := newEngine(t, memhv.New(memhv.Config{}), t.TempDir())
	address := commit(t, e, "a").Spec.NICs[0].Address
	h, err := e.Open(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, h.JoinScope("default"))
	require.Len(t, h.Spec().NICs, 1)
	e.Discard(h)
	other, _ := joined(t, e, "b")
	require.NotEqual(t, address, other.Address)
}
