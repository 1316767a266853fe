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
func MkdirAll(root, name string) error { return mkdirAll(root, name, 0o755) }

// mkdirAll is MkdirAll with the mode of new directories, whatever the umask is.
func mkdirAll(root, name string, mode os.FileMode) error {
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
		err = makeDir(int(parent.Fd()), part, mode)
		_ = parent.Close() // an O_PATH descriptor has nothing to write back
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.PathError{Op: "mkdir", Path: name, Err: err}
		}
		at = filepath.Join(at, part)
	}
	return nil
}

// makeDir makes a directory below parent. One that is there is left as it is.
func makeDir(parent int, name string, mode os.FileMode) error {
	bits := uint32(mode.Perm())
	if err := unix.Mkdirat(parent, name, bits); err != nil {
		return err
	}
	fd, err := unix.Openat(parent, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	return unix.Fchmod(fd, bits|st.Mode&unix.S_ISGID) // which it has from its parent
}
