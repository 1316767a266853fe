package flatten

import (
	"archive/tar"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const xattrKey = "SCHILY.xattr."

// What the ext4 writer has room for: behind the inode's fields and in one block, headers taken off (compact.go in hcsshim,
// inodeExtraSize, xattrInodeOverhead and xattrBlockOverhead).
const (
	xattrInodeRoom = inodeBytes - 152 - 8
	xattrBlockRoom = blockBytes - 36
)

// xattr is one extended attribute.
type xattr struct{ name, value string }

// xattrsOf returns the extended attributes of hdr that Linux would accept, in the order of their names; the rest (those of
// other systems, such as com.apple) are left out, as every runtime that extracts a layer must.
func xattrsOf(hdr *tar.Header, maxBytes int) ([]xattr, error) {
	var xattrs []xattr
	total := 0
	for key, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrKey)
		if !ok || !isLinuxXattr(name) {
			continue
		}
		if total += len(name) + len(value); total > maxBytes {
			return nil, fmt.Errorf("%w: extended attributes of more than %d bytes", ErrTooLarge, maxBytes)
		}
		if isACL(name) {
			acl, err := ext4ACL(value)
			if err != nil {
				return nil, fmt.Errorf("attribute %s: %w", name, err)
			}
			value = acl
		}
		// A copy: what came is part of the whole PAX header, which may be a megabyte.
		xattrs = append(xattrs, xattr{strings.Clone(name), strings.Clone(value)})
	}
	slices.SortFunc(xattrs, func(a, b xattr) int { return cmp.Compare(a.name, b.name) })
	return xattrs, checkRoom(xattrs)
}

// checkRoom refuses what the ext4 writer would: it puts each attribute, in this order, where there is room.
func checkRoom(xattrs []xattr) error {
	inode, block := xattrInodeRoom, xattrBlockRoom
	for _, x := range xattrs {
		size := xattrEntryBytes + pad4(len(xattrSuffix(x.name))) + pad4(len(x.value))
		switch {
		case size <= inode:
			inode -= size
		case size <= block:
			block -= size
		default:
			return fmt.Errorf("%w: extended attribute %s does not fit beside the others", ErrTooLarge, x.name)
		}
	}
	return nil
}

func pad4(n int) int { return (n + 3) &^ 3 }

// xattrSuffix is the part of a name that ext4 writes; the rest is a number.
func xattrSuffix(name string) string {
	if isACL(name) {
		return ""
	}
	_, suffix, _ := strings.Cut(name, ".")
	return suffix
}

func isLinuxXattr(name string) bool {
	if isACL(name) {
		return true
	}
	// overlayfs keeps its own notes there, and shows them to nobody: what an image says would only mislead it.
	if len(name) > maxNameBytes || strings.HasPrefix(name, "trusted.overlay.") {
		return false
	}
	for _, space := range []string{"user.", "trusted.", "security."} {
		if rest, ok := strings.CutPrefix(name, space); ok && rest != "" {
			return true
		}
	}
	return false
}
