package listen_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/controlplane/internal/listen"
)

func start(t *testing.T, c listen.Config) net.Listener {
	t.Helper()
	l, err := listen.Listen(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func port(t *testing.T, l net.Listener) int {
	t.Helper()
	tcp, ok := l.Addr().(*net.TCPAddr)
	require.True(t, ok)
	require.Equal(t, "127.0.0.1", tcp.IP.String())
	return tcp.Port
}

// taken returns an address that somebody else listens on.
func taken(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestAChosenPortIsBelowTheEphemeralOnes(t *testing.T) {
	assert.Less(t, port(t, start(t, listen.Config{})), 30000)
}

func TestThePreferredPortIsChosenWhenItIsFree(t *testing.T) {
	l, err := listen.Listen(t.Context(), listen.Config{})
	require.NoError(t, err)
	preferred := port(t, l)
	require.NoError(t, l.Close())

	assert.Equal(t, preferred, port(t, start(t, listen.Config{Preferred: preferred})))
}

func TestAnotherPortIsChosenWhenThePreferredOneIsTaken(t *testing.T) {
	preferred := int(taken(t).Port())
	assert.NotEqual(t, preferred, port(t, start(t, listen.Config{Preferred: preferred})))
}

func TestAnAddressThatIsTakenIsNamedWithItsFlag(t *testing.T) {
	address := taken(t)
	tests := map[string]struct {
		config listen.Config
		flag   string
	}{
		"the port on loopback": {listen.Config{Port: int(address.Port())}, "--api-port"},
		"the address for pods": {listen.Config{Pods: address}, "--pod-listen"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := listen.Listen(t.Context(), tt.config)

			var addressErr *listen.AddressError
			require.ErrorAs(t, err, &addressErr)
			assert.Equal(t, tt.flag, addressErr.Flag)
			assert.EqualError(t, err, tt.flag+": port in use: another program listens on "+address.String())
		})
	}
}

func TestTheAddressForPodsNeedNotExistYet(t *testing.T) {
	// TEST-NET-1 and the documentation prefix are on no interface.
	for _, address := range []string{"192.0.2.1:6443", "[2001:db8::1]:6443"} {
		t.Run(address, func(t *testing.T) {
			port(t, start(t, listen.Config{Pods: netip.MustParseAddrPort(address)}))
		})
	}
}

func TestConnectionsOfBothAddressesAreAccepted(t *testing.T) {
	free := taken(t) // on 127.0.0.1; the same port of 127.0.0.2 is another address
	pods := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), free.Port())
	l := start(t, listen.Config{Pods: pods})
	for _, address := range []string{l.Addr().String(), pods.String(), l.Addr().String()} {
		client, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		require.NoError(t, err)
		server, err := l.Accept()
		require.NoError(t, err)
		assert.Equal(t, client.RemoteAddr().String(), server.LocalAddr().String())
		require.NoError(t, client.Close())
		require.NoError(t, server.Close())
	}
}

func TestCloseEndsAccept(t *testing.T) {
	l, err := listen.Listen(t.Context(), listen.Config{Pods: netip.MustParseAddrPort("192.0.2.1:6443")})
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()

	require.NoError(t, l.Close())

	require.ErrorIs(t, <-ended, net.ErrClosed)
	require.NoError(t, l.Close(), "a second close changes nothing")
}
