// Package filelock lets one process at a time have something, by a lock on a file.
//
// The lock belongs to the open file (fcntl(2), open file description locks): a process that inherits the file has the lock
// too, and it ends when the last of them closes the file or dies. So a crash leaves the file and no lock. Two opens in one
// process exclude each other as well.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/wait"
)

// interval is how often Take tries again: the kernel's own wait can't be interrupted.
const interval = 20 * time.Millisecond

// ErrLocked means that another open file has the lock.
var ErrLocked = errors.New("locked")

// Try locks the file at path, which it makes with mode 0600 where there is none, and leaves. Closing the result unlocks
// it. It returns ErrLocked, and never waits.
func Try(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := TryFile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Take is Try that waits for the lock, until ctx ends.
func Take(ctx context.Context, path string) (*os.File, error) {
	var f *os.File
	err := wait.Until(ctx, interval, func() (bool, error) {
		var err error
		f, err = Try(path)
		if errors.Is(err, ErrLocked) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", filepath.Base(path), err)
	}
	return f, nil
}

// TryFile locks f, which is open for writing. It returns ErrLocked, and never waits.
func TryFile(f *os.File) error { return try(f, unix.F_WRLCK) }

// TryShared keeps the lock of f from everybody else until f is closed, and does not mind others who do the same. f need
// only be open for reading. It returns ErrLocked, and never waits.
func TryShared(f *os.File) error { return try(f, unix.F_RDLCK) }

func try(f *os.File, kind int16) error {
	set := func() error { return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: kind}) }
	err := set()
	if refused(err) {
		awaitStarts()
		err = set()
	}
	switch {
	case err == nil:
		return nil
	case refused(err):
		return ErrLocked
	default:
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
}

func refused(err error) bool { return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) }

// awaitStarts returns when every process that was being started runs its program. Until then it has all our files open, with the
// locks of those that we have closed meanwhile.
func awaitStarts() {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
}

// Held is true while somebody has the lock of the file at path. To ask takes nothing, so who asks is never taken for a
// holder. A file that is not there is not locked.
func Held(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	ask := func() (bool, error) {
		lock := unix.Flock_t{Type: unix.F_RDLCK}
		if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
			return false, fmt.Errorf("ask for the lock of %s: %w", path, err)
		}
		return lock.Type != unix.F_UNLCK, nil
	}
	held, err := ask()
	if err != nil || !held {
		return held, err
	}
	awaitStarts()
	return ask()
}
