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

	xattrKey = "SCHILY.xattr."
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

// inodeOf checks hdr, which is no hard link, and returns what it describes.
func inodeOf(hdr *tar.Header) (*inode, error) {
	ino := &inode{
		kind:  hdr.Typeflag,
		mode:  hdr.Mode & 0o7777,
		uid:   hdr.Uid,
		gid:   hdr.Gid,
		mtime: hdr.ModTime,
	}
	if badID(hdr.Uid) || badID(hdr.Gid) {
		return nil, fmt.Errorf("%w: owner %d:%d", ErrMalformed, hdr.Uid, hdr.Gid)
	}
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		ino.kind, ino.size = tar.TypeReg, hdr.Size
	case tar.TypeDir, tar.TypeFifo:
	case tar.TypeSymlink:
		ino.target, ino.mode = hdr.Linkname, 0o777
		if ino.target == "" || len(ino.target) > maxTargetBytes {
			return nil, fmt.Errorf("%w: a symbolic link of %d bytes", ErrMalformed, len(ino.target))
		}
	case tar.TypeChar, tar.TypeBlock:
		ino.major, ino.minor = hdr.Devmajor, hdr.Devminor
		if ino.major < 0 || ino.major > maxMajor || ino.minor < 0 || ino.minor > maxMinor {
			return nil, fmt.Errorf("%w: device %d:%d", ErrMalformed, ino.major, ino.minor)
		}
	default:
		return nil, fmt.Errorf("%w: file kind %q", ErrMalformed, hdr.Typeflag)
	}
	var err error
	ino.xattrs, err = xattrsOf(hdr)
	return ino, err
}

func badID(id int) bool { return id < 0 || id > math.MaxUint32 }

// xattrsOf returns the extended attributes of hdr that Linux would accept; the rest (those of other systems, such as
// com.apple) are left out, as every runtime that extracts a layer must.
func xattrsOf(hdr *tar.Header) (map[string]string, error) {
	var xattrs map[string]string
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrKey)
		if !ok || !isLinuxXattr(name) {
			continue
		}
		if isACL(name) {
			acl, err := ext4ACL(value)
			if err != nil {
				return nil, fmt.Errorf("attribute %s: %w", name, err)
			}
			value = acl
		}
		if xattrs == nil {
			xattrs = map[string]string{}
		}
		xattrs[name] = value
	}
	return xattrs, nil
}

func isLinuxXattr(name string) bool {
	if isACL(name) {
		return true
	}
	if len(name) > maxNameBytes {
		return false
	}
	for _, space := range []string{"user.", "trusted.", "security."} {
		if rest, ok := strings.CutPrefix(name, space); ok && rest != "" {
			return true
		}
	}
	return false
}
