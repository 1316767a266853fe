package filelock_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/filelock"
)

func isHeld(t *testing.T, path string) bool {
	t.Helper()
	held, err := filelock.Held(path)
	require.NoError(t, err)
	return held
}

func TestALockLastsAsLongAsSomebodyInheritedIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	require.False(t, isHeld(t, path), "a file that is not there is not locked")
	f, err := filelock.Try(path)
	require.NoError(t, err)
	_, err = filelock.Try(path)
	require.ErrorIs(t, err, filelock.ErrLocked, "not even by the same process")

	heir := exec.Command("cat")
	heir.ExtraFiles = []*os.File{f}
	input, err := heir.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, heir.Start())
	require.NoError(t, f.Close())
	assert.True(t, isHeld(t, path), "the heir holds it")
	require.NoError(t, input.Close())
	require.NoError(t, heir.Wait())
	assert.False(t, isHeld(t, path), "it ended with the heir")
}

func TestTakeWaitsForTheLockUntilItsContextEnds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	synctest.Test(t, func(t *testing.T) {
		first, err := filelock.Try(path)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = filelock.Take(ctx, path)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		time.AfterFunc(time.Second, func() { _ = first.Close() })
		second, err := filelock.Take(t.Context(), path)
		require.NoError(t, err)
		assert.True(t, isHeld(t, path))
		require.NoError(t, second.Close())
	})
}

func TestAProcessThatIsBeingStartedHoldsNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	for name, look := range map[string]func() bool{
		"to take it": func() bool {
			f, err := filelock.Try(path)
			if err == nil {
				err = f.Close()
			}
			return err == nil
		},
		"to ask for it": func() bool {
			held, err := filelock.Held(path)
			return err == nil && !held
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := filelock.Try(path)
			require.NoError(t, err)
			// As a child that does not run its program yet.
			syscall.ForkLock.Lock()
			inherited, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			free := make(chan bool)
			go func() { free <- look() }()
			select {
			case <-free:
				assert.Fail(t, "the child has the lock")
			case <-time.After(10 * time.Millisecond):
			}
			require.NoError(t, unix.Close(inherited))
			syscall.ForkLock.Unlock()
			assert.True(t, <-free)
		})
	}
}

func TestThoseWhoShareALockKeepOthersOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	require.NoError(t, os.WriteFile(path, nil, 0o400))
	one, err := os.Open(path)
	require.NoError(t, err)
	two, err := os.Open(path)
	require.NoError(t, err)
	require.NoError(t, filelock.TryShared(one))
	require.NoError(t, filelock.TryShared(two))
	require.NoError(t, os.Chmod(path, 0o600))
	_, err = filelock.Try(path)
	require.ErrorIs(t, err, filelock.ErrLocked)
	require.NoError(t, one.Close())
	require.NoError(t, two.Close())
	alone, err := filelock.Try(path)
	require.NoError(t, err)
	defer alone.Close()
	late, err := os.Open(path)
	require.NoError(t, err)
	defer late.Close()
	require.ErrorIs(t, filelock.TryShared(late), filelock.ErrLocked)
}

func TestAnErrorOfTheFileIsNotTakenForALock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "lock")
	_, err := filelock.Take(t.Context(), path)
	require.ErrorIs(t, err, os.ErrNotExist)
}
