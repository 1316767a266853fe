package network

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFreeSubnetSkipsWhatIsRouted(t *testing.T) {
	first, err := freeSubnet("/vch", nil)
	require.NoError(t, err)
	assert.True(t, netip.MustParsePrefix("10.128.0.0/9").Overlaps(first))
	again, err := freeSubnet("/vch", nil)
	require.NoError(t, err)
	assert.Equal(t, first, again, "a directory always begins at the same range")
	second, err := freeSubnet("/vch", []netip.Prefix{first})
	require.NoError(t, err)
	assert.False(t, first.Overlaps(second))
	_, err = freeSubnet("/vch", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	require.ErrorContains(t, err, "no free subnet")
}

func TestChooseSubnetKeepsItsChoice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	chosen, err := chooseSubnet(Config{Dir: dir}, "vicnone")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, subnetFile), []byte("10.200.7.0/24\n"), 0o600))
	kept, err := chooseSubnet(Config{Dir: dir}, "vicnone")
	require.NoError(t, err)
	assert.Equal(t, "10.200.7.0/24", kept.String())
	assert.Equal(t, 24, chosen.Bits())
	require.NoError(t, dropSubnet(dir))
	require.NoError(t, dropSubnet(dir), "twice is not an error")
}

func TestChooseSubnetRefusesRangesThatDoNotFit(t *testing.T) {
	for _, bad := range []string{"10.0.0.0/8", "10.0.0.0/30", "fd00::/64"} {
		_, err := chooseSubnet(Config{Dir: t.TempDir(), Subnet: netip.MustParsePrefix(bad)}, "vicnone")
		require.ErrorContains(t, err, bad)
	}
}

func TestPortsAreChecked(t *testing.T) {
	tests := map[string]struct {
		port Port
		want string
	}{
		"a MAC address that is text for nft": {Port{"k", "02:00:00:00:00:01 }", netip.MustParseAddr("10.0.0.2")}, "not a MAC"},
		"a MAC address of many stations":     {Port{"k", "03:00:00:00:00:01", netip.MustParseAddr("10.0.0.2")}, "not a MAC"},
		"an IPv6 address":                    {Port{"k", "02:00:00:00:00:01", netip.MustParseAddr("fd00::2")}, "not an IPv4"},
		"no address":                         {Port{"k", "02:00:00:00:00:01", netip.Addr{}}, "not an IPv4"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { require.ErrorContains(t, tt.port.check(), tt.want) })
	}
}

func TestTranslationsAreChecked(t *testing.T) {
	at := netip.MustParseAddrPort
	require.NoError(t, checkTranslations([]Translation{{at("10.96.0.1:443"), at("10.200.0.1:6443")}}))
	require.ErrorContains(t, checkTranslations([]Translation{{at("10.96.0.1:443"), at("127.0.0.1:6443")}}), "loopback")
	require.ErrorContains(t, checkTranslations([]Translation{{at("[fd00::1]:443"), at("10.0.0.1:6443")}}), "IPv4")
	require.ErrorContains(t, checkTranslations([]Translation{{at("10.0.0.1:0"), at("10.0.0.1:6443")}}), "ports")
}

func TestNamesFitTheKernel(t *testing.T) {
	n := namesFor("/some/very/long/directory/that/is/the/home/of/a/virtual/container/host")
	assert.LessOrEqual(t, len(n.host), 15)
	assert.LessOrEqual(t, len(Port{Key: "c0ffee00-0000-4000-8000-000000000000/0"}.link()), 15)
	assert.NotEqual(t, n, namesFor("/another"))
}
