package volume

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Resolve returns the real path of name, a path inside root, with symbolic links followed as if root were "/".
func Resolve(root, name string) (string, error) {
	f, err := Open(root, name, unix.O_PATH)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// Open opens name, a path inside root, with symbolic links followed as if root were "/".
func Open(root, name string, flags int) (*os.File, error) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: root, Err: err}
	}
	defer unix.Close(dir)
	fd, err := unix.Openat2(dir, name, &unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), filepath.Join(root, name)), nil
}

// MkdirAll makes the directory name inside root, and those above it, with symbolic links followed as if root were "/".
func MkdirAll(root, name string) error {
	relative := strings.Trim(filepath.Clean("/"+name), "/")
	if relative == "" {
		return nil // the root itself
	}
	at := ""
	for part := range strings.SplitSeq(relative, "/") {
		parent, err := Open(root, "/"+at, unix.O_PATH|unix.O_DIRECTORY)
		if err != nil {
			return err
		}
		err = unix.Mkdirat(int(parent.Fd()), part, 0o755)
		_ = parent.Close() // an O_PATH descriptor has nothing to write back
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.PathError{Op: "mkdir", Path: name, Err: err}
		}
		at = filepath.Join(at, part)
	}
	return nil
}
