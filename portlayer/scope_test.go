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
func joined(t *testing.T, l *portlayer.Layer, id string) (portlayer.NIC, *portlayer.Handle) {
	t.Helper()
	h, err := l.New(id, portlayer.Owner{Kind: "Test", Name: id, UID: id})
	require.NoError(t, err)
	require.NoError(t, h.JoinScope("default"))
	require.NoError(t, h.JoinScope("default"), "joining twice is joining once")
	require.Len(t, h.Spec().NICs, 1)
	return h.Spec().NICs[0], h
}

func newSmallLayer(t *testing.T, hv portlayer.Hypervisor) *portlayer.Layer {
	t.Helper()
	l, err := portlayer.Open(t.Context(), portlayer.Config{
		Hypervisor: hv,
		Scopes: []portlayer.ScopeConfig{{
			Name:     "default",
			Subnet:   netip.MustParsePrefix("10.9.0.0/29"), // .1 to .6
			Gateway:  netip.MustParseAddr("10.9.0.1"),
			Reserved: []netip.Addr{netip.MustParseAddr("10.9.0.3")},
			MTU:      1400,
		}},
	})
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l
}

func TestAddressesAreGivenInTurnAndRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newSmallLayer(t, memhv.New(memhv.Config{}))
		first, h := joined(t, l, "a")
		assert.Equal(t, netip.MustParsePrefix("10.9.0.2/29"), first.Addresses[0])
		assert.Equal(t, netip.MustParseAddr("10.9.0.1"), first.Gateways[0])
		assert.Equal(t, 1400, first.MTU)
		for _, uid := range []string{"b", "c", "d"} { // .4 to .6
			joined(t, l, uid)
		}
		x, err := l.New("x", portlayer.Owner{})
		require.NoError(t, err)
		require.ErrorIs(t, x.JoinScope("default"), portlayer.ErrNoAddress)
		require.ErrorIs(t, x.JoinScope("none"), portlayer.ErrNotFound)

		l.Discard(h)
		require.ErrorIs(t, x.JoinScope("default"), portlayer.ErrNoAddress, "a freed address rests")
		again, h := joined(t, l, "a")
		assert.Equal(t, first, again, "its former holder gets it at once")
		l.Discard(h)
		<-time.After(3 * time.Minute) // in a bubble
		require.NoError(t, x.JoinScope("default"))
		assert.Equal(t, first.Addresses, x.Spec().NICs[0].Addresses)
		l.Close()
	})
}

func TestAScopeMayHaveAPartOfItsSubnet(t *testing.T) {
	hardware := func(a netip.Addr) net.HardwareAddr { return append(net.HardwareAddr{0, 0}, a.AsSlice()...) }
	l, err := portlayer.Open(t.Context(), portlayer.Config{
		Hypervisor: memhv.New(memhv.Config{}),
		Scopes: []portlayer.ScopeConfig{{
			Name: "default", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Hardware: hardware,
			First: netip.MustParseAddr("10.9.0.20"), Last: netip.MustParseAddr("10.9.0.21"),
		}},
	})
	require.NoError(t, err)
	t.Cleanup(l.Close)
	for _, uid := range []string{"20", "21"} {
		nic, _ := joined(t, l, uid)
		assert.Equal(t, "10.9.0."+uid+"/24", nic.Addresses[0].String())
		assert.Equal(t, hardware(nic.Addresses[0].Addr()).String(), nic.MAC)
	}
	h, err := l.New("22", portlayer.Owner{})
	require.NoError(t, err)
	require.ErrorIs(t, h.JoinScope("default"), portlayer.ErrNoAddress)
}

func TestHardwareAddressesAreLocalAndUnique(t *testing.T) {
	l := newLayer(t, memhv.New(memhv.Config{}))
	seen := map[string]bool{}
	for _, uid := range []string{"a", "b", "c"} {
		nic, _ := joined(t, l, uid)
		mac, err := net.ParseMAC(nic.MAC)
		require.NoError(t, err)
		assert.Equal(t, byte(0x02), mac[0]&0x03, "locally administered and unicast")
		assert.False(t, seen[nic.MAC])
		seen[nic.MAC] = true
	}
}

func TestLeasesAreWhatVMsCarry(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	l := newLayer(t, hv)
	first := commit(t, l, "a").Spec.NICs[0].Addresses[0]
	second := commit(t, l, "b").Spec.NICs[0].Addresses[0]
	require.Equal(t, first.Addr().Next(), second.Addr())
	require.NoError(t, l.Destroy(t.Context(), "a"))
	l.Close()

	l = newLayer(t, hv)
	third, h := joined(t, l, "c")
	assert.Equal(t, second.Addr().Next(), third.Addresses[0].Addr(), "the next one is past the highest in use")
	l.Discard(h)

	hv.Vanish("b")
	require.NoError(t, l.Refresh(t.Context()))
	again, _ := joined(t, l, "b")
	assert.Equal(t, second, again.Addresses[0], "a pod whose VM vanished gets its address again")
}

func TestADiscardedDraftLeavesTheAddressOfItsVM(t *testing.T) {
	l := newLayer(t, memhv.New(memhv.Config{}))
	address := commit(t, l, "a").Spec.NICs[0].Addresses[0]
	h, err := l.Draft("a")
	require.NoError(t, err)
	require.NoError(t, h.JoinScope("default"))
	require.Len(t, h.Spec().NICs, 1)
	l.Discard(h)
	other, _ := joined(t, l, "b")
	require.NotEqual(t, address, other.Addresses[0])
}

func newLayer(t *testing.T, hv portlayer.Hypervisor) *portlayer.Layer {
	t.Helper()
	l, err := portlayer.Open(t.Context(), portlayer.Config{
		Hypervisor: hv,
		Scopes: []portlayer.ScopeConfig{{
			Name: "default", Subnet: netip.MustParsePrefix("10.9.0.0/24"), Gateway: netip.MustParseAddr("10.9.0.1"),
		}},
	})
	require.NoError(t, err)
	t.Cleanup(l.Close)
	return l
}

// commit makes a VM with an interface.
func commit(t *testing.T, l *portlayer.Layer, id string) portlayer.VM {
	t.Helper()
	_, h := joined(t, l, id)
	h.SetSize(portlayer.Size{VCPUs: 1, MemoryBytes: 256 << 20})
	vm, err := l.Commit(t.Context(), h)
	require.NoError(t, err)
	return vm
}
