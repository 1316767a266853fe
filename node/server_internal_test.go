package node

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/config"
	"github.com/virtual-kubelet/vic/node/statedir"
)

func TestALeaderWaitsForTheStateOfTheFormerOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	former, err := statedir.Open(dir)
	require.NoError(t, err)
	alone := &server{ServerConfig: ServerConfig{Settings: &config.Node{Dir: dir}}}
	_, err = alone.lockState(t.Context())
	require.ErrorIs(t, err, statedir.ErrInUse, "without an election there is nobody to wait for")

	next := &server{ServerConfig: ServerConfig{Settings: &config.Node{Dir: dir, LeaderElection: &config.LeaderElection{}}}}
	type answer struct {
		state *statedir.Dir
		err   error
	}
	answered := make(chan answer, 1)
	go func() {
		state, err := next.lockState(t.Context())
		answered <- answer{state, err}
	}()
	select {
	case a := <-answered:
		require.Fail(t, "it has not waited", "%v", a.err)
	case <-time.After(2 * lockInterval):
	}
	require.NoError(t, former.Close())
	a := <-answered
	require.NoError(t, a.err)
	assert.Equal(t, dir, a.state.Path)
	require.NoError(t, a.state.Close())
	again, err := statedir.Open(dir)
	require.NoError(t, err, "it has let go")
	require.NoError(t, again.Close())
}
