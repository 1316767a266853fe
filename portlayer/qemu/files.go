package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
)

// errLocked says that another open file holds the lock.
var errLocked = errors.New("locked")

// lock opens a file, makes it where it is missing, and takes its write lock. The lock belongs to the open file: a
// process that inherits it holds it too, and it ends when the last of them closes it or dies.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole)
	if err == nil {
		return f, nil
	}
	_ = f.Close() // nothing was written
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
		return nil, errLocked
	}
	return nil, fmt.Errorf("lock %s: %w", path, err)
}

// isLocked asks without taking. A file that is not there is not locked.
func isLocked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	ask := unix.Flock_t{Type: unix.F_RDLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &ask); err != nil {
		return false, fmt.Errorf("ask for the lock of %s: %w", path, err)
	}
	return ask.Type != unix.F_UNLCK, nil
}

// writeJSON replaces a file in one step: after a crash there is the old content or the new one.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	if err := replaceFile(path, func(f *os.File) error { _, err := f.Write(b); return err }); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), err)
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// replaceFile lets fill write a temporary file, and puts it, synced, in the place of path. The temporary one is locked
// while it is written, so that a sweep by another process leaves it alone.
func replaceFile(path string, fill func(*os.File) error) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return spaceError(err)
	}
	whole := unix.Flock_t{Type: unix.F_WRLCK}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole)
	if err == nil {
		err = fill(f)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return spaceError(errors.Join(err, os.Remove(f.Name()), f.Close()))
	}
	if err := f.Close(); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes the names in dir outlast a crash of the machine.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// copySparse copies src and leaves holes where it is zero.
func copySparse(dst *os.File, src io.Reader) (int64, error) {
	var size int64
	block := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(src, block)
		if n > 0 && !allZero(block[:n]) {
			if _, err := dst.WriteAt(block[:n], size); err != nil {
				return size, err
			}
		}
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return size, dst.Truncate(size)
		}
		if err != nil {
			return size, err
		}
	}
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// spaceError makes a full disk, quota or file system limit one of the port layer's kinds.
func spaceError(err error) error {
	if err == nil || errors.Is(err, portlayer.ErrOutOfSpace) {
		return err
	}
	for _, full := range []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", portlayer.ErrOutOfSpace, err)
		}
	}
	return err
}
