package flatten_test

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// entry is one member of a layer.
type entry struct {
	hdr  tar.Header
	data string
}

// reference is the image as a naive extractor makes it, on a real directory: layer after layer, whiteouts first. It runs
// inside a chroot, so that links lead where they lead in a container.
type reference struct {
	dir string
	// mtimes holds the times of directories, which are set once all is extracted.
	mtimes map[string]time.Time
}

func newReference(t *testing.T) *reference {
	t.Helper()
	require.Zero(t, os.Geteuid(), "owners, devices and mounts need root")
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	return &reference{dir: dir, mtimes: map[string]time.Time{"/": time.Unix(0, 0)}}
}

// inside runs fn on a thread whose root is the directory.
func (r *reference) inside(t *testing.T, fn func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		// Ends with fn. Its thread stays locked and so ends with it, chroot and all.
		runtime.LockOSThread()
		defer close(done)
		if err := errors.Join(unix.Unshare(unix.CLONE_FS), unix.Chroot(r.dir), unix.Chdir("/")); err != nil {
			done <- err
			return
		}
		unix.Umask(0)
		fn()
	}()
	require.NoError(t, <-done)
}

func (r *reference) hide(e entry) error {
	dir, base := path.Split(path.Clean("/" + e.hdr.Name))
	if base != ".wh..wh..opq" {
		return r.remove(path.Join(dir, strings.TrimPrefix(base, ".wh.")))
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := r.remove(path.Join(dir, n.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (r *reference) remove(name string) error {
	for dir := range r.mtimes {
		if dir == name || strings.HasPrefix(dir, name+"/") {
			delete(r.mtimes, dir)
		}
	}
	return os.RemoveAll(name)
}

// resolve returns the real path of name, making the directories above it if makeDirs is set.
func (r *reference) resolve(name string, makeDirs bool) (string, error) {
	name = path.Clean("/" + name)
	if name == "/" {
		return name, nil
	}
	dir, err := r.walk(path.Dir(name), makeDirs, 0)
	return path.Join(dir, path.Base(name)), err
}

func (r *reference) walk(dir string, makeDirs bool, depth int) (string, error) {
	if dir == "/" {
		return dir, nil
	}
	if depth > 20 {
		return "", syscall.ELOOP
	}
	parent, err := r.walk(path.Dir(dir), makeDirs, depth)
	if err != nil {
		return "", err
	}
	dir = path.Join(parent, path.Base(dir))
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, os.ErrNotExist) && makeDirs:
		r.mtimes[dir] = time.Unix(0, 0)
		// Without the set-group-id bit and the group that it would have from its parent.
		return dir, errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, 0, 0), unix.Chmod(dir, 0o755))
	case err != nil:
		return "", err
	case info.IsDir():
		return dir, nil
	case info.Mode()&os.ModeSymlink == 0:
		return "", syscall.ENOTDIR
	}
	target, err := os.Readlink(dir)
	if err != nil {
		return "", err
	}
	if !path.IsAbs(target) {
		target = path.Join(parent, target)
	}
	return r.walk(path.Clean(target), makeDirs, depth+1)
}

// accepts reports whether e can be put where it belongs. It changes nothing.
func (r *reference) accepts(e entry) bool {
	name, err := r.resolve(e.hdr.Name, false)
	if err != nil {
		return errors.Is(err, os.ErrNotExist) && e.hdr.Typeflag != tar.TypeLink
	}
	if e.hdr.Typeflag != tar.TypeLink {
		return true
	}
	target, err := r.resolve(e.hdr.Linkname, false)
	if err != nil || strings.HasPrefix(target, name+"/") {
		return false
	}
	info, err := os.Lstat(target)
	return err == nil && !info.IsDir()
}

// put extracts e to name.
func (r *reference) put(name string, e entry) error {
	if e.hdr.Typeflag == tar.TypeLink {
		return r.link(name, e)
	}
	info, err := os.Lstat(name)
	if err == nil && (!info.IsDir() || e.hdr.Typeflag != tar.TypeDir) {
		if err := r.remove(name); err != nil {
			return err
		}
	}
	if err := create(name, e); err != nil {
		return err
	}
	if e.hdr.Typeflag == tar.TypeDir {
		r.mtimes[name] = e.hdr.ModTime
	}
	return setAttributes(name, e)
}

func (r *reference) link(name string, e entry) error {
	target, err := r.resolve(e.hdr.Linkname, false)
	if err != nil || target == name {
		return err
	}
	from, err := os.Lstat(target)
	if err != nil {
		return err
	}
	if to, err := os.Lstat(name); err == nil && os.SameFile(from, to) {
		return nil
	}
	if err := r.remove(name); err != nil {
		return err
	}
	return os.Link(target, name)
}

func create(name string, e entry) error {
	dev := int(unix.Mkdev(uint32(e.hdr.Devmajor), uint32(e.hdr.Devminor)))
	switch e.hdr.Typeflag {
	case tar.TypeDir:
		if err := os.Mkdir(name, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return nil
	case tar.TypeReg:
		return os.WriteFile(name, []byte(e.data), 0o600)
	case tar.TypeSymlink:
		return os.Symlink(e.hdr.Linkname, name)
	case tar.TypeFifo:
		return unix.Mkfifo(name, 0o600)
	case tar.TypeChar:
		return unix.Mknod(name, unix.S_IFCHR|0o600, dev)
	case tar.TypeBlock:
		return unix.Mknod(name, unix.S_IFBLK|0o600, dev)
	}
	return fmt.Errorf("kind %q", e.hdr.Typeflag)
}

func setAttributes(name string, e entry) error {
	old, err := readXattrs(name)
	if err != nil {
		return err
	}
	for key := range old {
		if err := unix.Lremovexattr(name, key); err != nil {
			return err
		}
	}
	if err := os.Lchown(name, e.hdr.Uid, e.hdr.Gid); err != nil {
		return err
	}
	if e.hdr.Typeflag != tar.TypeSymlink {
		if err := unix.Chmod(name, uint32(e.hdr.Mode)); err != nil {
			return err
		}
	}
	for key, value := range e.hdr.PAXRecords {
		if err := unix.Lsetxattr(name, strings.TrimPrefix(key, "SCHILY.xattr."), []byte(value), 0); err != nil {
			return err
		}
	}
	return setTime(name, e.hdr.ModTime)
}

func setTime(name string, at time.Time) error {
	ts := unix.Timespec{Sec: at.Unix(), Nsec: int64(at.Nanosecond())}
	return unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

// finish sets the times of directories.
func (r *reference) finish(t *testing.T) {
	t.Helper()
	for dir, at := range r.mtimes {
		require.NoError(t, setTime(filepath.Join(r.dir, dir), at))
	}
}
