package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/virtual-kubelet/vic/internal/filelock"
)

const tempPrefix = ".tmp-"

// Write puts b in the place of the file at path, with exactly that mode.
func Write(path string, b []byte, mode fs.FileMode) error {
	return Replace(path, mode, func(f *os.File) error { _, err := f.Write(b); return err })
}

// Replace puts what fill writes in the place of the file at path, with exactly that mode. When it fails the old file is as
// it was, unless only the last sync failed.
func Replace(path string, mode fs.FileMode, fill func(*os.File) error) error {
	return put(path, mode, fill, os.Rename)
}

// Create is Write that replaces nothing: it returns fs.ErrExist where another was first, whose file is whole.
func Create(path string, b []byte, mode fs.FileMode) error {
	write := func(f *os.File) error { _, err := f.Write(b); return err }
	return put(path, mode, write, func(temp, path string) error {
		return errors.Join(os.Link(temp, path), os.Remove(temp))
	})
}

// put makes the temporary file, and gives it its name by place.
func put(path string, mode fs.FileMode, fill func(*os.File) error, place func(temp, path string) error) error {
	dir := filepath.Dir(path)
	f, err := temporary(dir)
	if err != nil {
		return err
	}
	defer f.Close() // all is synced by then; it unlocks
	err = fill(f)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = place(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, removeIfThere(f.Name()))
	}
	return SyncDir(dir)
}

// temporary makes a file in dir and locks it. A sweep may take it away before it is locked; then there is another.
func temporary(dir string) (*os.File, error) {
	for {
		f, err := os.CreateTemp(dir, tempPrefix)
		if err != nil {
			return nil, err
		}
		err = filelock.TryFile(f)
		if err == nil {
			if _, err = os.Lstat(f.Name()); err == nil {
				return f, nil
			}
		}
		if !errors.Is(err, filelock.ErrLocked) && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.Join(err, removeIfThere(f.Name()), f.Close())
		}
		_ = f.Close() // nothing was written
	}
}

// SyncDir makes the names in dir outlast a crash of the host.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// Temporary is true for the name of a file that is not whole yet, or was left by a crash.
func Temporary(name string) bool { return strings.HasPrefix(name, tempPrefix) }

// Sweep removes the temporary files that a crash has left in dir, and none that is still being written.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if Temporary(e.Name()) && e.Type().IsRegular() {
			err = errors.Join(err, sweep(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

func sweep(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	// Whoever has just made it sees the lock and makes another.
	if err := filelock.TryShared(f); err != nil {
		if errors.Is(err, filelock.ErrLocked) {
			return nil
		}
		return err
	}
	return removeIfThere(path)
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
