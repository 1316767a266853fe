package pause_test

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/pause"
)

func TestMain(m *testing.M) {
	if os.Args[0] == pause.Program {
		pause.Run()
	}
	os.Exit(m.Run())
}

func TestNothingEndsItButKill(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(program)
	cmd.Args[0] = pause.Program
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the process
	t.Cleanup(func() { _ = cmd.Process.Kill() })

	require.Eventually(t, func() bool { return ignores(t, cmd.Process.Pid) }, time.Minute, time.Millisecond)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGCHLD, syscall.SIGUSR1} {
		require.NoError(t, cmd.Process.Signal(sig))
	}
	select {
	case err := <-ended:
		require.Fail(t, "it ended", "%v", err)
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, cmd.Process.Kill())
	require.EqualError(t, <-ended, "signal: killed")
}

// ignores reports whether the process ignores SIGTERM and SIGCHLD, which is so once it has begun.
func ignores(t *testing.T, pid int) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		if mask, ok := strings.CutPrefix(line, "SigIgn:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			require.NoError(t, err)
			return bits&bit(syscall.SIGTERM) != 0 && bits&bit(syscall.SIGCHLD) != 0
		}
	}
	return false
}

func bit(sig syscall.Signal) uint64 { return 1 << (sig - 1) }
