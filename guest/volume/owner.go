package volume

import (
	"io/fs"
	"os"
	"path/filepath"

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
	if v.Kind == wire.VolumeScratch {
		return ownOne(path, group, bits) // what a former boot left in it has owners already
	}
	return filepath.WalkDir(path, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return ownOne(name, group, bits)
	})
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
