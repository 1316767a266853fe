package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/node/statedir"
)

func TestALeaderWaitsForTheStateOfTheFormerOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	former, err := statedir.Open(dir)
	require.NoError(t, err)
	alone := &nodeServer{file: &nodeFile{processFile: processFile{Dir: dir}}}
	_, err = alone.lockState(t.Context())
	require.ErrorIs(t, err, statedir.ErrInUse, "without an election there is nobody to wait for")

	next := &nodeServer{file: &nodeFile{processFile: processFile{Dir: dir}, fleetFile: fleetFile{LeaderElection: &leaderElectionFile{}}}}
	type answer struct {
		unlock func()
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		unlock, err := next.lockState(t.Context())
		answered <- answer{unlock, err}
	}()
	select {
	case a := <-answered:
		require.Fail(t, "it has not waited", "%v", a.err)
	case <-time.After(2 * lockInterval):
	}
	require.NoError(t, former.Close())
	a := <-answered
	require.NoError(t, a.err)
	assert.Equal(t, dir, next.state.Path)
	a.unlock()
	again, err := statedir.Open(dir)
	require.NoError(t, err, "it has let go")
	require.NoError(t, again.Close())
}
