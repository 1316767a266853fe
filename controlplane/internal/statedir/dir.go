package statedir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockName     = "controlplane.lock"
	recordName   = "controlplane.json"
	settingsName = "settings.json"

	// A process that only asks who holds the lock has it for microseconds; Open outlasts such a one.
	lockAttempts = 5
	lockInterval = 20 * time.Millisecond
)

// Dir is a state directory that this process holds.
type Dir struct {
	path string
	lock *os.File
}

// Open creates the directory where it is missing and takes its lock. It returns ErrHeld when another process has it.
func Open(ctx context.Context, path string) (*Dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("resolve state directory %s: %w", path, err)
	}
	if err := os.MkdirAll(abs, 0o700); err != nil {
		return nil, fmt.Errorf("create state directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(abs, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := take(ctx, lock); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", abs, name(abs, err)), lock.Close())
	}
	return &Dir{path: abs, lock: lock}, nil
}

// name adds the holder's process to ErrHeld, where it is known.
func name(path string, err error) error {
	if !errors.Is(err, ErrHeld) {
		return err
	}
	if r, findErr := Find(path); findErr == nil && r.PID != 0 {
		return fmt.Errorf("%w (process %d)", err, r.PID)
	}
	return err
}

// take waits a moment for the lock.
func take(ctx context.Context, lock *os.File) error {
	ticker := time.NewTicker(lockInterval)
	defer ticker.Stop()
	for range lockAttempts {
		err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
	return ErrHeld
}

// Path is the path of a file in the directory.
func (d *Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// Close removes the record and gives the lock back.
func (d *Dir) Close() error {
	err := os.Remove(d.Path(recordName))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, d.lock.Close())
}

// CheckSpace returns a NoSpaceError when less than need bytes are left for us under the directory.
func (d *Dir) CheckSpace(need uint64) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(d.path, &fs); err != nil {
		return fmt.Errorf("look at free space of %s: %w", d.path, err)
	}
	free := fs.Bavail * uint64(fs.Bsize)
	if free < need {
		return &NoSpaceError{Dir: d.path, FreeMiB: free >> 20, NeedMiB: need >> 20}
	}
	return nil
}
