package provider

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// listenAt listens until the test ends.
func listenAt(t *testing.T, l Listen) (string, error) {
	t.Helper()
	on, err := l.open(t.Context())
	if err != nil {
		return "", err
	}
	t.Cleanup(func() { require.NoError(t, on.Close()) })
	return on.Addr().String(), nil
}

func TestTheKubeletAPIListensOnItsPortWhereThatIsFree(t *testing.T) {
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())

	got, err := listenAt(t, Listen{Address: address, OrAnyPort: true})
	require.NoError(t, err)
	assert.Equal(t, address, got)
}

func TestTheKubeletAPITakesAFreePortWhereItsOwnIsInUse(t *testing.T) {
	taken, err := listenAt(t, Listen{Address: "127.0.0.1:0"})
	require.NoError(t, err)

	got, err := listenAt(t, Listen{Address: taken, OrAnyPort: true})
	require.NoError(t, err)
	assert.NotEqual(t, taken, got)
	host, _, err := net.SplitHostPort(got)
	require.NoError(t, err)
	assert.Equal(t, "127.0.0.1", host)
}

func TestAPortThatAUserGaveIsRefusedByNameWhereItIsInUse(t *testing.T) {
	taken, err := listenAt(t, Listen{Address: "127.0.0.1:0"})
	require.NoError(t, err)

	_, err = listenAt(t, Listen{Address: taken, Setting: "--kubelet-port"})
	require.ErrorIs(t, err, syscall.EADDRINUSE)
	require.ErrorContains(t, err, "--kubelet-port: ")
	require.ErrorContains(t, err, taken)
}

func TestAnAddressThatIsNotTheMachinesIsRefused(t *testing.T) {
	_, err := listenAt(t, Listen{Address: "192.0.2.1:10250", OrAnyPort: true})
	require.ErrorIs(t, err, syscall.EADDRNOTAVAIL)
	require.ErrorContains(t, err, "kubelet API: ")
}
