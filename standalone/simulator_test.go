package standalone_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/node/statedir"
	"github.com/virtual-kubelet/vic/standalone"
)

// simulator writes a program in place of `vic simulated-vcenter`; $ready and $alive are its files. What serves counts how
// often it was started, and ends at SIGTERM.
func simulator(t *testing.T, body string) standalone.SimulatorConfig {
	t.Helper()
	d, err := statedir.Open(filepath.Join(t.TempDir(), "state"))
	require.NoError(t, err)
	path, ready := filepath.Join(t.TempDir(), "program"), filepath.Join(t.TempDir(), "ready")
	text := "#!/bin/sh\nready=" + ready + " alive=" + filepath.Join(d.Simulator(), "alive") + "\n" +
		"serve() { echo $$ >$alive; echo started >>$0.starts; : >$ready; exec sleep 1000; }\n" + body
	require.NoError(t, os.WriteFile(path, []byte(text), 0o700))
	t.Cleanup(func() {
		require.NoError(t, standalone.StopSimulator(context.Background(), d))
		require.NoError(t, d.Close())
	})
	return standalone.SimulatorConfig{Dir: d, Binary: path, Ready: ready}
}

func requireRuns(t *testing.T, d *statedir.Dir, want bool) {
	t.Helper()
	runs, err := standalone.SimulatorRuns(d)
	require.NoError(t, err)
	require.Equal(t, want, runs)
}

func TestASimulatorIsTakenAsItIs(t *testing.T) {
	cfg := simulator(t, "serve")
	requireRuns(t, cfg.Dir, false)
	require.NoError(t, standalone.StartSimulator(t.Context(), cfg))
	require.NoError(t, standalone.StartSimulator(t.Context(), cfg), "as after a kill of vic")
	requireRuns(t, cfg.Dir, true)
	require.NoError(t, standalone.StopSimulator(t.Context(), cfg.Dir))
	requireRuns(t, cfg.Dir, false)
	require.NoError(t, standalone.StopSimulator(t.Context(), cfg.Dir), "there is none")
	starts, err := os.ReadFile(cfg.Binary + ".starts")
	require.NoError(t, err)
	require.Equal(t, "started\n", string(starts))
}

func TestASimulatorThatWasKilledIsStartedAnew(t *testing.T) {
	cfg := simulator(t, "serve")
	require.NoError(t, os.WriteFile(cfg.Ready, []byte("left"), 0o600))
	require.NoError(t, standalone.StartSimulator(t.Context(), cfg))
	b, err := os.ReadFile(cfg.Ready)
	require.NoError(t, err)
	require.Empty(t, b, "it is its own")
}

func TestASimulatorThatOnlyBeganToStartIsReplaced(t *testing.T) {
	cfg := simulator(t, "[ -e $0.starts ] && serve; echo $$ >$alive; : >$0.starts; exec sleep 1000")
	killed := cfg
	killed.Ready = cfg.Binary + ".starts"
	require.NoError(t, standalone.StartSimulator(t.Context(), killed))
	require.NoError(t, standalone.StartSimulator(t.Context(), cfg))
	requireRuns(t, cfg.Dir, true)
}

func TestASimulatorSaysWhyItEnded(t *testing.T) {
	cfg := simulator(t, "echo no QEMU >&2; exit 1")
	require.ErrorContains(t, standalone.StartSimulator(t.Context(), cfg), "simulated vCenter ended: no QEMU")
	requireRuns(t, cfg.Dir, false)
}

func TestTheEndOfASimulatorIsNoticed(t *testing.T) {
	cfg := simulator(t, "serve")
	require.NoError(t, standalone.StartSimulator(t.Context(), cfg))
	watched := make(chan error, 1)
	go func() { watched <- standalone.WatchSimulator(t.Context(), cfg.Dir) }()
	require.NoError(t, standalone.StopSimulator(t.Context(), cfg.Dir))
	require.ErrorContains(t, <-watched, "simulated vCenter ended")
}

func TestOnlyVicUpStartsASimulator(t *testing.T) {
	cfg := simulator(t, "")
	require.ErrorContains(t, standalone.BecomeSimulator(cfg.Dir), "vic up --vsphere-simulator")
}
