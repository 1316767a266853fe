package volume

import (
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// What a volume's group may do, as the kubelet has it: files that the host delivers are to be read only.
const (
	writableBits = 0o660
	readableBits = 0o440
	enterBits    = 0o110
)

// own gives path and all below it to the group that owns v, and new files in its directories too.
func (s *Set) own(v wire.Volume, path string) error {
	if s.config.Group == nil {
		return nil
	}
	bits := fs.FileMode(writableBits)
	if v.Kind == wire.VolumeFiles {
		bits = readableBits
	}
	group := int(*s.config.Group)
	switch v.Kind {
	case wire.VolumeScratch:
		return ownOne(path, group, bits) // what a former boot left in it has owners already
	case wire.VolumeDisk:
		return s.ownDisk(v, path, group)
	case wire.VolumeMemory, wire.VolumeFiles, wire.VolumeDevice:
	}
	return filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return ownOne(name, group, bits)
	})
}

// ownDisk owns what others have written before, which may be a lot. The top directory comes last: as long as it is not the
// group's, not everything below may be.
func (s *Set) ownDisk(v wire.Volume, path string, group int) error {
	if v.ReadOnly {
		return nil
	}
	if owned, err := isOwned(path, group); err != nil || owned && s.config.GroupOnRootMismatch {
		return err
	}
	err := filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == path {
			return err
		}
		return ownOne(name, group, writableBits)
	})
	if err != nil {
		return err
	}
	return ownOne(path, group, writableBits)
}

// isOwned reports whether a directory is as ownOne leaves it.
func isOwned(path string, group int) (bool, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return false, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	const bits = writableBits | enterBits | unix.S_ISGID
	return int(st.Gid) == group && st.Mode&bits == bits, nil
}

func ownOne(path string, group int, bits fs.FileMode) error {
	if err := os.Lchown(path, -1, group); err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&os.ModeSymlink != 0 {
		return err
	}
	if info.IsDir() {
		bits |= fs.ModeSetgid | enterBits
	}
	return os.Chmod(path, info.Mode()|bits)
}
