package guestimage

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
)

// The file types of a mode in a cpio archive, as in stat(2).
const (
	modeDir     = 0o040000
	modeRegular = 0o100000
	modeSymlink = 0o120000
	modeChar    = 0o020000
)

// entry is one file of the archive. Its owner is root and its time is 0.
type entry struct {
	mode         uint32 // type and permissions
	data         []byte // content, or a symbolic link's target
	major, minor uint32 // of a device
}

// archive is the content of an initrd, by path without a leading slash.
type archive map[string]entry

func (a archive) dir(name string, perm uint32) { a.put(name, entry{mode: modeDir | perm}) }

func (a archive) file(name string, perm uint32, data []byte) {
	a.put(name, entry{mode: modeRegular | perm, data: data})
}

func (a archive) symlink(name, target string) {
	a.put(name, entry{mode: modeSymlink | 0o777, data: []byte(target)})
}

func (a archive) char(name string, perm, major, minor uint32) {
	a.put(name, entry{mode: modeChar | perm, major: major, minor: minor})
}

// put adds e, and the directories above it that are not there yet.
func (a archive) put(name string, e entry) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	for d := path.Dir(name); d != "."; d = path.Dir(d) {
		if _, ok := a[d]; !ok {
			a[d] = entry{mode: modeDir | 0o755}
		}
	}
	a[name] = e
}

// writeTo writes the archive in cpio's "newc" format (Linux, Documentation/driver-api/early-userspace/buffer-format.rst),
// sorted by path, so that a directory precedes what is in it.
func (a archive) writeTo(w io.Writer) error {
	names := make([]string, 0, len(a))
	for name := range a {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		if err := writeEntry(w, i+1, name, a[name]); err != nil {
			return fmt.Errorf("write %s to the archive: %w", name, err)
		}
	}
	return writeEntry(w, 0, "TRAILER!!!", entry{})
}

func writeEntry(w io.Writer, inode int, name string, e entry) error {
	links := 1
	if e.mode&modeDir == modeDir {
		links = 2
	}
	var b strings.Builder
	b.WriteString("070701")
	for _, field := range []uint32{
		uint32(inode), e.mode, 0, 0, uint32(links), 0, uint32(len(e.data)),
		0, 0, e.major, e.minor, uint32(len(name) + 1), 0,
	} {
		fmt.Fprintf(&b, "%08x", field)
	}
	b.WriteString(name)
	b.WriteByte(0)
	b.WriteString(padding(b.Len()))
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	if _, err := w.Write(e.data); err != nil {
		return err
	}
	_, err := io.WriteString(w, padding(len(e.data)))
	return err
}

// padding fills n bytes up to a multiple of four.
func padding(n int) string { return "\x00\x00\x00"[:(4-n%4)%4] }
