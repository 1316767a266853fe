package process_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/process"
)

// reaper is one for all tests: there may be one in a program.
var reaper = sync.OnceValues(process.NewReaper)

func newReaper(t *testing.T) *process.Reaper {
	t.Helper()
	r, err := reaper()
	require.NoError(t, err)
	return r
}

func sh(script string) process.Spec {
	return process.Spec{Args: []string{"/bin/sh", "-c", script}, Env: os.Environ()}
}

func TestEveryExitCodeArrives(t *testing.T) {
	r := newReaper(t)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			p, err := r.Start(sh("exit " + strconv.Itoa(i)))
			if assert.NoError(t, err) {
				assert.Equal(t, int32(i), process.ExitCode(p.Status()))
			}
		})
	}
	wg.Wait()
}

func TestASignalsDeathIs128AndItsNumber(t *testing.T) {
	p, err := newReaper(t).Start(sh("exec sleep 60"))
	require.NoError(t, err)
	require.NoError(t, p.Signal(syscall.SIGTERM))
	require.Equal(t, int32(143), process.ExitCode(p.Status()))
	require.NoError(t, p.Signal(syscall.SIGTERM), "one that has ended is not an error")
}

// orphan starts a process whose parent leaves at once, and returns its pid.
func orphan(t *testing.T, r *process.Reaper, script string) int {
	t.Helper()
	file := filepath.Join(t.TempDir(), "pid")
	out, err := r.Run(t.Context(), sh("("+script+") >/dev/null 2>&1 & echo $! >"+file))
	require.NoError(t, err, out)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	require.NoError(t, err)
	return pid
}

func TestAnOrphanIsAdopted(t *testing.T) {
	r := newReaper(t)
	release := r.Hold()
	defer release()
	gate := filepath.Join(t.TempDir(), "gate")
	require.NoError(t, syscall.Mkfifo(gate, 0o600))
	p, err := r.Adopt(orphan(t, r, "read x <"+gate+"; exit 7"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(gate, []byte("go\n"), 0o600))
	require.Equal(t, int32(7), process.ExitCode(p.Status()))
}

func TestAnOrphanThatHasEndedIsAdoptedUnderAHold(t *testing.T) {
	r := newReaper(t)
	release := r.Hold()
	defer release()
	pid := orphan(t, r, "sleep 0.1; exit 9")
	require.Eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }, 10*time.Second, time.Millisecond)
	p, err := r.Adopt(pid)
	require.NoError(t, err)
	require.Equal(t, int32(9), process.ExitCode(p.Status()))
}

func TestAForeignProcessIsNotAdopted(t *testing.T) {
	_, err := newReaper(t).Adopt(os.Getppid())
	require.ErrorIs(t, err, process.ErrNoChild)
}

func TestRunReturnsOutputAndFailure(t *testing.T) {
	r := newReaper(t)
	out, err := r.Run(t.Context(), sh("echo out; echo err >&2; exit 3"))
	require.ErrorIs(t, err, process.ErrExit)
	require.Equal(t, "out\nerr\n", out)

	_, err = r.Run(t.Context(), process.Spec{Args: []string{"/nonexistent"}})
	require.ErrorIs(t, err, os.ErrNotExist)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = r.Run(ctx, sh("exec sleep 60"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestRunDoesNotWaitForAGrandchildsPipe(t *testing.T) {
	out, err := newReaper(t).Run(t.Context(), sh("sleep 20 & echo done"))
	require.NoError(t, err)
	require.Equal(t, "done\n", out)
}

func TestAPipesEndIsBlockingInTheProcess(t *testing.T) {
	pr, pw, err := os.Pipe()
	require.NoError(t, err)
	defer pr.Close()
	p, err := newReaper(t).Start(process.Spec{
		Args: []string{"/bin/cat"}, Env: os.Environ(), Files: []*os.File{pr},
	})
	require.NoError(t, err)
	require.NoError(t, pr.Close())
	select {
	case <-p.Done():
		require.Fail(t, "cat did not wait for its input")
	case <-time.After(200 * time.Millisecond):
	}
	require.NoError(t, pw.Close())
	require.Zero(t, process.ExitCode(p.Status()))
}
