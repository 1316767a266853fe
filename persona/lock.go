package persona

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lockPoll is how often a lock that another process holds is tried again: flock itself cannot be interrupted.
const lockPoll = 20 * time.Millisecond

// poll calls try until it reports true, fails, or ctx ends.
func poll(ctx context.Context, try func() (bool, error)) error {
	ticker := time.NewTicker(lockPoll)
	defer ticker.Stop()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		done, err := try()
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
		}
	}
}

// tryFlock reports whether it got f's lock, which ends with f.
func tryFlock(f *os.File) (bool, error) {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// lockFile waits for the lock on the file name, which it makes and leaves. Closing the result unlocks it.
func lockFile(ctx context.Context, name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := poll(ctx, func() (bool, error) { return tryFlock(f) }); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", filepath.Base(name), err), f.Close())
	}
	return f, nil
}

// workDir is a folder for one piece of work, locked as long as its owner lives. A crash leaves the folder but not the lock.
type workDir struct {
	path string
	lock *os.File
}

// lockWorkDir makes the folder and waits until it is the caller's and empty.
func lockWorkDir(ctx context.Context, path string) (*workDir, error) {
	var w *workDir
	err := poll(ctx, func() (bool, error) {
		var err error
		w, err = tryWorkDir(path)
		return w != nil, err
	})
	if err != nil {
		return nil, fmt.Errorf("lock work folder: %w", err)
	}
	return w, nil
}

// tryWorkDir is lockWorkDir without the waiting: it returns nil if the folder is another's.
func tryWorkDir(path string) (*workDir, error) {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	dir, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // its owner has just removed it
	}
	if err != nil {
		return nil, err
	}
	locked, err := tryFlock(dir)
	if err == nil && locked && isStill(dir, path) {
		w := &workDir{path: path, lock: dir}
		if err := w.empty(); err != nil {
			return nil, errors.Join(err, w.release())
		}
		return w, nil
	}
	return nil, errors.Join(err, dir.Close())
}

// isStill reports whether path still leads to f: the owner before us removes the folder together with its lock.
func isStill(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(held, now)
}

func (w *workDir) empty() error {
	names, err := os.ReadDir(w.path)
	if err != nil {
		return err
	}
	for _, n := range names {
		err = errors.Join(err, os.RemoveAll(filepath.Join(w.path, n.Name())))
	}
	return err
}

func (w *workDir) file(name string) string { return filepath.Join(w.path, name) }

// release removes the folder and lets the next one in.
func (w *workDir) release() error {
	return errors.Join(os.RemoveAll(w.path), w.lock.Close())
}
