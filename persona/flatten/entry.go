package flatten

import (
	"archive/tar"
	"fmt"
	"math"
	"strings"
)

const (
	maxNameBytes   = 255
	maxTargetBytes = 4095
	// maxFileBytes stays below 42.5 GiB, from where on the ext4 writer would fill a second extent block wrongly.
	maxFileBytes = 32 << 30
	// ext4 has 12 bits for a device's major number and 20 for its minor.
	maxMajor = 1<<12 - 1
	maxMinor = 1<<20 - 1
)

// splitName splits the name of an entry, relative to the image's root, into its parts; the root itself has none.
// A leading slash means the root of the image. A name may not climb with "..", not even within the image.
func splitName(name string) ([]string, error) {
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "" || part == ".":
			continue
		case part == "..":
			return nil, fmt.Errorf("%w: the name climbs out of its directory", ErrMalformed)
		case len(part) > maxNameBytes:
			return nil, fmt.Errorf("%w: a name of more than %d bytes", ErrMalformed, maxNameBytes)
		case strings.IndexByte(part, 0) >= 0:
			return nil, fmt.Errorf("%w: a name with a zero byte", ErrMalformed)
		}
		parts = append(parts, part)
	}
	if len(name) > maxPathBytes {
		return nil, fmt.Errorf("%w: a path of more than %d bytes", ErrMalformed, maxPathBytes)
	}
	return parts, nil
}

// splitTarget splits the target of a link, which may climb: walk stops it at the root.
func splitTarget(target string) []string {
	var parts []string
	for part := range strings.SplitSeq(target, "/") {
		if part != "" && part != "." {
			parts = append(parts, part)
		}
	}
	return parts
}

func joinName(parts []string) string { return strings.Join(parts, "/") }

// inodeOf checks hdr, which is not a hard link, and returns what it describes.
func inodeOf(hdr *tar.Header, maxXattrBytes int) (*inode, error) {
	if badID(hdr.Uid) || badID(hdr.Gid) {
		return nil, fmt.Errorf("%w: owner %d:%d", ErrMalformed, hdr.Uid, hdr.Gid)
	}
	ino := &inode{
		kind:    hdr.Typeflag,
		mode:    uint16(hdr.Mode & 0o7777),
		uid:     uint32(hdr.Uid),
		gid:     uint32(hdr.Gid),
		seconds: hdr.ModTime.Unix(),
		nanos:   uint32(hdr.ModTime.Nanosecond()),
	}
	if err := ino.setKind(hdr); err != nil {
		return nil, err
	}
	var err error
	ino.xattrs, err = xattrsOf(hdr, maxXattrBytes)
	return ino, err
}

// setKind takes from hdr what only some kinds of file have.
func (ino *inode) setKind(hdr *tar.Header) error {
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		ino.kind, ino.size = tar.TypeReg, hdr.Size
	case tar.TypeDir, tar.TypeFifo:
	case tar.TypeSymlink:
		if hdr.Linkname == "" || len(hdr.Linkname) > maxTargetBytes {
			return fmt.Errorf("%w: a symbolic link of %d bytes", ErrMalformed, len(hdr.Linkname))
		}
		if strings.IndexByte(hdr.Linkname, 0) >= 0 {
			return fmt.Errorf("%w: a symbolic link with a zero byte", ErrMalformed)
		}
		ino.target, ino.mode = strings.Clone(hdr.Linkname), 0o777
	case tar.TypeChar, tar.TypeBlock:
		if hdr.Devmajor < 0 || hdr.Devmajor > maxMajor || hdr.Devminor < 0 || hdr.Devminor > maxMinor {
			return fmt.Errorf("%w: device %d:%d", ErrMalformed, hdr.Devmajor, hdr.Devminor)
		}
		ino.major, ino.minor = uint32(hdr.Devmajor), uint32(hdr.Devminor)
	default:
		return fmt.Errorf("%w: file kind %q", ErrMalformed, hdr.Typeflag)
	}
	return nil
}

func badID(id int) bool { return id < 0 || id > math.MaxUint32 }
