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

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/internal/wait"
)

const (
	// workLock is the file in a work folder whose lock its owner has.
	workLock = "lock"
	// workPoll is how often a work folder that somebody works in is tried again.
	workPoll = 20 * time.Millisecond
)

// workDir is a folder for one piece of work, locked as long as its owner lives. A crash leaves the folder and no lock.
type workDir struct {
	path string
	lock *os.File
}

// lockWorkDir makes the folder and waits until it is the caller's and empty.
func lockWorkDir(ctx context.Context, path string) (*workDir, error) {
	var w *workDir
	err := wait.Until(ctx, workPoll, func() (bool, error) {
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
	lock, err := filelock.Try(filepath.Join(path, workLock))
	switch {
	case errors.Is(err, filelock.ErrLocked):
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // its owner has just removed it
	case err != nil:
		return nil, err
	}
	if !isStill(lock, lock.Name()) {
		return nil, lock.Close()
	}
	w := &workDir{path: path, lock: lock}
	if err := w.empty(); err != nil {
		return nil, errors.Join(err, w.release())
	}
	return w, nil
}

// isStill reports whether path still leads to f: the owner before us removes the folder with the file.
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
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		if n.Name() == workLock {
			continue
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(w.path, n.Name())))
	}
	return err
}

func (w *workDir) file(name string) string { return filepath.Join(w.path, name) }

// release removes the folder and lets the next one in. The lock's file goes last: once it is gone, the next one may have made
// another in the folder, which stays then.
func (w *workDir) release() error {
	err := errors.Join(w.empty(), removeIfThere(w.lock.Name()))
	if rmErr := os.Remove(w.path); !errors.Is(rmErr, unix.ENOTEMPTY) && !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return errors.Join(err, w.lock.Close())
}
