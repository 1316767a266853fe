package durable_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/durable"
)

// dieAt is the file that a child of the test writes when it kills itself.
const dieAt = "VIC_TEST_DIE_AT"

func TestMain(m *testing.M) {
	if path := os.Getenv(dieAt); path != "" {
		err := durable.Replace(path, 0o600, func(f *os.File) error {
			_, _ = f.WriteString("half")
			return unix.Kill(os.Getpid(), unix.SIGKILL)
		})
		fmt.Fprintln(os.Stderr, "it lives:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestACrashLeavesTheOldFileAndWhatTheNextSweepRemoves(t *testing.T) {
	path := old(t)
	program, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(program)
	child.Env = append(os.Environ(), dieAt+"="+path)
	require.Error(t, child.Run(), "it was killed")

	assert.Equal(t, "old", content(t, path))
	left := names(t, path)
	require.Len(t, left, 2)
	assert.True(t, durable.Temporary(left[0]), left[0])
	assert.False(t, durable.Temporary(left[1]), left[1])

	require.NoError(t, durable.Sweep(filepath.Dir(path)))
	assert.Equal(t, []string{"file"}, names(t, path))
}
