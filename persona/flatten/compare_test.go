package flatten_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fileFacts is all that a program can see of one name.
type fileFacts struct {
	Mode          uint32
	UID, GID      uint32
	Rdev          uint64
	Size          int64
	ModTime       string
	Target        string
	Content       string
	Xattrs        map[string]string
	FirstLinkName string
	Links         uint64
}

// describe lists every name below root. File systems differ in sizes and link counts of directories, which are left out.
func describe(t *testing.T, root string) map[string]fileFacts {
	t.Helper()
	facts := map[string]fileFacts{}
	first := map[uint64]string{}
	require.NoError(t, filepath.WalkDir(root, func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := strings.TrimPrefix(name, root)
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		f := fileFacts{
			Mode: st.Mode, UID: st.Uid, GID: st.Gid, Rdev: st.Rdev,
			ModTime: fmt.Sprintf("%d.%09d", st.Mtim.Sec, st.Mtim.Nsec),
		}
		if f.Xattrs, err = readXattrs(name); err != nil {
			return err
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			content, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			f.Content, f.Size = string(content), st.Size
		case unix.S_IFLNK:
			if f.Target, err = os.Readlink(name); err != nil {
				return err
			}
			f.Size = st.Size
		}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			f.Links = st.Nlink
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			f.FirstLinkName = first[st.Ino]
		}
		facts[rel] = f
		return nil
	}))
	return facts
}

// requireSameTree compares name by name, to show the differences and no more.
func requireSameTree(t *testing.T, want, got map[string]fileFacts) {
	t.Helper()
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	for name := range want {
		assert.Equal(t, want[name], got[name], "%q", name)
	}
}

func readXattrs(name string) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(name, buf)
	if err != nil {
		return nil, fmt.Errorf("list attributes of %s: %w", name, err)
	}
	xattrs := map[string]string{}
	for key := range strings.SplitSeq(strings.TrimRight(string(buf[:n]), "\x00"), "\x00") {
		if key == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(name, key, value)
		if err != nil {
			return nil, fmt.Errorf("attribute %s of %s: %w", key, name, err)
		}
		xattrs[key] = string(value[:n])
	}
	return xattrs, nil
}

// describeDisk describes a disk, and mounts it no longer than that: loop devices are few.
func describeDisk(t *testing.T, disk string) map[string]fileFacts {
	t.Helper()
	dir := t.TempDir()
	run(t, "mount", "-t", "ext4", "-o", "loop,ro,noload", disk, dir)
	defer func() { assert.NoError(t, unix.Unmount(dir, 0)) }()
	return describe(t, dir)
}

// check fails the test unless e2fsck finds nothing to mend.
func check(t *testing.T, disk string) {
	t.Helper()
	run(t, "e2fsck", "-f", "-n", disk)
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
}
