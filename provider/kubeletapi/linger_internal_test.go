package kubeletapi

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// connected returns both ends of a connection, ours as the API's server has it.
func connected(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	theirs, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = theirs.Close() })
	ours, err = lingering{l}.Accept()
	require.NoError(t, err)
	return ours, theirs
}

func TestTheLastWordArrivesWhateverTheClientSends(t *testing.T) {
	ours, theirs := connected(t)
	_, err := theirs.Write(make([]byte, 100_000)) // which nobody reads
	require.NoError(t, err)
	_, err = io.WriteString(ours, "exit 7")
	require.NoError(t, err)
	require.NoError(t, ours.Close())
	for range 20 {
		_, err = theirs.Write(make([]byte, 100_000))
		require.NoError(t, err, "the close is not a reset")
	}
	said, err := io.ReadAll(theirs)
	require.NoError(t, err)
	assert.Equal(t, "exit 7", string(said))
}

func TestAClosedConnectionIsClosed(t *testing.T) {
	ours, theirs := connected(t)
	read := make(chan error, 1)
	go func() { // ends with the connection
		_, err := ours.Read(make([]byte, 1))
		read <- err
	}()
	require.NoError(t, ours.Close())
	_, err := ours.Write([]byte("x"))
	require.Error(t, err)
	_, err = ours.Read(make([]byte, 1))
	require.ErrorIs(t, err, net.ErrClosed)
	require.ErrorIs(t, ours.Close(), net.ErrClosed)
	require.NoError(t, theirs.Close())
	select {
	case err := <-read:
		require.Error(t, err)
	case <-time.After(time.Minute):
		require.Fail(t, "a read outlives the connection")
	}
}
