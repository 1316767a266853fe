package process_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/process"
)

// pauseVariable has this program be the pause program.
const pauseVariable = "VIC_TEST_PAUSE"

func TestMain(m *testing.M) {
	if os.Getenv(pauseVariable) != "" {
		process.Pause()
	}
	os.Exit(m.Run())
}

func TestNothingEndsAPauseButKill(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	p, err := newReaper(t).Start(process.Spec{Args: []string{program}, Env: []string{pauseVariable + "=1"}})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Signal(syscall.SIGKILL) })

	require.Eventually(t, func() bool { return ignores(t, p.Pid()) }, time.Minute, time.Millisecond)
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGCHLD, syscall.SIGUSR1} {
		require.NoError(t, p.Signal(sig))
	}
	select {
	case <-p.Done():
		require.Fail(t, "it ended", "%v", p.Status())
	case <-time.After(100 * time.Millisecond):
	}
	require.NoError(t, p.Signal(syscall.SIGKILL))
	require.Equal(t, syscall.SIGKILL, p.Status().Signal())
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
