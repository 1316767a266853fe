package crun

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// likeImage gives the root of an empty writable layer what the image's has: overlayfs shows the attributes of the upper one.
func likeImage(image, layer string) error {
	var st unix.Stat_t
	if err := unix.Stat(image, &st); err != nil {
		return fmt.Errorf("look at the image's root: %w", err)
	}
	times := []unix.Timespec{st.Atim, st.Mtim}
	err := errors.Join(
		unix.Chown(layer, int(st.Uid), int(st.Gid)),
		unix.Chmod(layer, st.Mode&0o7777),
		copyAttributes(image, layer),
		unix.UtimesNanoAt(unix.AT_FDCWD, layer, times, 0), // last: what is above changes them
	)
	if err != nil {
		return fmt.Errorf("make the container's root like the image's: %w", err)
	}
	return nil
}

// copyAttributes copies extended attributes, access control lists among them, but for overlayfs' own.
func copyAttributes(from, to string) error {
	names, err := readAttribute(func(b []byte) (int, error) { return unix.Listxattr(from, b) })
	if err != nil {
		return fmt.Errorf("list attributes: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if name == "" || strings.HasPrefix(name, "trusted.overlay.") {
			continue
		}
		value, err := readAttribute(func(b []byte) (int, error) { return unix.Getxattr(from, name, b) })
		if err == nil {
			err = unix.Setxattr(to, name, value, 0)
		}
		if err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}

// maxAttribute is the most that Linux lets a value, or a list of names, have (limits.h, XATTR_SIZE_MAX and XATTR_LIST_MAX).
const maxAttribute = 64 << 10

func readAttribute(read func([]byte) (int, error)) ([]byte, error) {
	b := make([]byte, maxAttribute)
	n, err := read(b)
	return b[:max(0, n)], err
}
