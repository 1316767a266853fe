package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// tree prints a line for each of the roots and everything below them.
func tree(w io.Writer, roots []string) error {
	first := map[uint64]string{} // path of an inode with several names
	for _, root := range roots {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			line, err := describe(path, first)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
			if path == "/" {
				return fs.SkipDir // its own line is enough
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// describe is a path's line: kind, mode, owner, time of its last change in seconds, what is particular to its kind, and its
// extended attributes in order.
func describe(path string, first map[uint64]string) (string, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return "", err
	}
	kind, detail, err := particulars(path, &st)
	if err != nil {
		return "", err
	}
	if st.Nlink > 1 && kind != "dir" {
		if name, ok := first[st.Ino]; ok {
			return fmt.Sprintf("%q same as %q", path, name), nil
		}
		first[st.Ino] = path
		detail += fmt.Sprintf(" names=%d", st.Nlink)
	}
	attributes, err := attributes(path)
	return fmt.Sprintf("%q %s %04o %d:%d %d.%09d%s%s", path, kind, st.Mode&0o7777, st.Uid, st.Gid,
		st.Mtim.Sec, st.Mtim.Nsec, detail, attributes), err
}

func particulars(path string, st *unix.Stat_t) (kind, detail string, err error) {
	device := fmt.Sprintf(" %d,%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return "dir", "", nil
	case unix.S_IFLNK:
		target, err := os.Readlink(path)
		return "symlink", fmt.Sprintf(" to=%q", target), err
	case unix.S_IFIFO:
		return "fifo", "", nil
	case unix.S_IFSOCK:
		return "socket", "", nil
	case unix.S_IFCHR:
		return "char", device, nil
	case unix.S_IFBLK:
		return "block", device, nil
	}
	content, err := os.ReadFile(path)
	return "file", fmt.Sprintf(" size=%d sha256=%x", len(content), sha256.Sum256(content)), err
}

func attributes(path string) (string, error) {
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, b)
	if err != nil {
		return "", err
	}
	names := strings.FieldsFunc(string(b[:n]), func(r rune) bool { return r == 0 })
	slices.Sort(names)
	var text strings.Builder
	for _, name := range names {
		n, err := unix.Lgetxattr(path, name, b)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		text.WriteString(" " + name + "=" + hex.EncodeToString(b[:n]))
	}
	return text.String(), nil
}
