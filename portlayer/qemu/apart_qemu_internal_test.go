//go:build qemu

package qemu

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// sleeper is a process in the place of a QEMU, with namespaces of its own.
func sleeper(t *testing.T, namespaces int) *process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "sleep", "3600")
	cmd.Dir = "/"
	require.NoError(t, inNamespaces(namespaces, cmd.Start))
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p, err := newProcess(cmd.Process.Pid)
	require.NoError(t, err)
	t.Cleanup(p.release)
	return p
}

func TestAnAdoptedQEMULosesTheHostsFilesUnlessItHasNoMountsOfItsOwn(t *testing.T) {
	h := newHypervisor(Config{})
	r := &record{Owner: ownerBase}
	own := sleeper(t, apartAlways|apartFromHost)
	require.False(t, rootIsEmpty(own.pid))
	for range 2 {
		require.NoError(t, h.finishEmptying(r, own))
		assert.True(t, rootIsEmpty(own.pid))
	}

	shared := sleeper(t, 0)
	require.NoError(t, h.finishEmptying(r, shared))
	require.ErrorContains(t, shared.emptyRoot(), "its mounts are the host's")

	// One whose mounts another process has too, such as a container's.
	first := sleeper(t, unix.CLONE_NEWNS)
	child := exec.CommandContext(t.Context(), "nsenter", "-t", strconv.Itoa(first.pid), "-m", "sleep", "3600")
	require.NoError(t, child.Start())
	t.Cleanup(func() { _ = child.Process.Kill(); _ = child.Wait() })
	require.Eventually(t, func() bool { return !aloneInMounts(first.pid) }, quitTimeout, connectStep)
	require.NoError(t, h.finishEmptying(r, first))
	for _, p := range []*process{shared, first} {
		assert.FileExists(t, "/proc/"+strconv.Itoa(p.pid)+"/root/proc/self/status")
	}
	_, err := os.ReadDir("/proc/self/root/etc")
	require.NoError(t, err)
}
