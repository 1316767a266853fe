package standalone_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/standalone"
)

// script writes a program in place of vic-controlplane, for how a child is watched; the real one is under test in e2e.
func script(t *testing.T, body string) standalone.ControlPlaneConfig {
	t.Helper()
	d, err := statedir.Open(filepath.Join(t.TempDir(), "state"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	path := filepath.Join(t.TempDir(), "control plane")
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o700))
	return standalone.ControlPlaneConfig{Binary: path, Dir: d, NodeName: "n", APIPort: 6443, PodListen: "10.0.0.1:6443"}
}

func TestStartControlPlaneWaitsForItsReadyLine(t *testing.T) {
	p, err := standalone.StartControlPlane(t.Context(), script(t, "echo starting\necho ready https://127.0.0.1:1\nexec sleep 1000"))
	require.NoError(t, err)
	require.Equal(t, "https://127.0.0.1:1", p.URL)
	require.NoError(t, p.Stop(t.Context()))
	<-p.Done()
}

func TestStartControlPlaneSaysWhyItEnded(t *testing.T) {
	_, err := standalone.StartControlPlane(t.Context(), script(t, "echo --api-port 6443 is in use >&2\nexit 1"))
	require.ErrorContains(t, err, "--api-port 6443 is in use")
}

func TestControlPlaneGetsItsSettings(t *testing.T) {
	_, err := standalone.StartControlPlane(t.Context(), script(t, `echo "$@" >&2; exit 1`))
	require.ErrorContains(t, err, "--api-port 6443 --node-name n --pod-listen 10.0.0.1:6443")
}

func TestStartControlPlaneStopsWhatWasLeft(t *testing.T) {
	cfg := script(t, `echo "$1" >>"$0.calls"; [ "$1" = stop ] && exit 0; echo ready u; exec sleep 1000`)
	require.NoError(t, os.MkdirAll(cfg.Dir.ControlPlane(), 0o700))
	p, err := standalone.StartControlPlane(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, p.Stop(t.Context()))
	calls, err := os.ReadFile(cfg.Binary + ".calls")
	require.NoError(t, err)
	require.Equal(t, "stop\n--dir\n", string(calls))
}

func TestStartControlPlaneStopsWhatHasOnlyBegunToStart(t *testing.T) {
	// A child of a vic that was killed: it takes a while until it can be asked to stop, until then there is none to stop.
	cfg := script(t, `
echo "$1" >>"$0.calls"
if [ "$1" = stop ]; then
	[ -e "$0.listens" ] && kill "$(cat "$0.pid")"
	exit 0
fi
if [ -e "$0.pid" ]; then
	kill -0 "$(cat "$0.pid")" && { echo "directory is held" >&2; exit 1; }
	echo ready again
	exec sleep 1000
fi
echo $$ >"$0.pid"
until [ "$(grep -c stop "$0.calls")" -ge 2 ]; do sleep 0.1; done
: >"$0.listens"
exec sleep 1000`)
	require.NoError(t, os.MkdirAll(cfg.Dir.ControlPlane(), 0o700))
	killed, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := standalone.StartControlPlane(killed, cfg)
		first <- err
	}()
	require.Eventually(t, func() bool {
		_, err := os.Stat(cfg.Binary + ".pid")
		return err == nil
	}, time.Minute, 10*time.Millisecond)

	p, err := standalone.StartControlPlane(t.Context(), cfg)
	require.NoError(t, err, "the first one is stopped and the second one starts")
	require.Equal(t, "again", p.URL)
	cancel()
	require.Error(t, <-first)
	require.NoError(t, p.Stop(t.Context()))
}
