//go:build e2e

package e2e_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/internal/testregistry"
)

// item is an entry of a layer, and what the pod shall see of it.
type item struct {
	tar.Header
	content string
	xattrs  map[string]string
	// line is what is seen in place of the entry; with gone, nothing is.
	line string
	gone bool
}

// when is a time to the nanosecond, another one for each n.
func when(n int) time.Time { return time.Unix(1_600_000_000+int64(n), 123_456_000+int64(n)).UTC() }

func (i item) header() *tar.Header {
	h := i.Header
	h.Format, h.Size = tar.FormatPAX, int64(len(i.content))
	h.Mode = cmp.Or(h.Mode, 0o644)
	h.PAXRecords = map[string]string{}
	for name, value := range i.xattrs {
		h.PAXRecords["SCHILY.xattr."+name] = value
	}
	return &h
}

// path is where the pod finds the entry.
func (i item) path() string { return "/" + strings.TrimSuffix(i.Name, "/") }

// seen is the line that testpod tree shall print of the entry.
func (i item) seen() string {
	h := i.header()
	device := fmt.Sprintf(" %d,%d", h.Devmajor, h.Devminor)
	kinds := map[byte]string{
		tar.TypeReg:     "file",
		tar.TypeDir:     "dir",
		tar.TypeSymlink: "symlink",
		tar.TypeFifo:    "fifo",
		tar.TypeChar:    "char",
		tar.TypeBlock:   "block",
	}
	details := map[byte]string{
		tar.TypeReg:     fmt.Sprintf(" size=%d sha256=%x", len(i.content), sha256.Sum256([]byte(i.content))),
		tar.TypeSymlink: fmt.Sprintf(" to=%q", h.Linkname), tar.TypeChar: device, tar.TypeBlock: device,
	}
	var attributes strings.Builder
	for _, name := range slices.Sorted(maps.Keys(i.xattrs)) {
		attributes.WriteString(" " + name + "=" + hex.EncodeToString([]byte(i.xattrs[name])))
	}
	return fmt.Sprintf("%q %s %04o %d:%d %d.%09d%s%s%s", i.path(), kinds[h.Typeflag], h.Mode, h.Uid, h.Gid,
		h.ModTime.Unix(), h.ModTime.Nanosecond(), details[h.Typeflag], i.line, attributes.String())
}

// Constructors of items; every one has an owner and a time of its own, from n.
func entry(n int, kind byte, name string, mode int64) item {
	return item{Header: tar.Header{Typeflag: kind, Name: name, Mode: mode, Uid: 1000 + n, Gid: 70_000 + n, ModTime: when(n)}}
}

func file(n int, name string, mode int64, content string) item {
	i := entry(n, tar.TypeReg, name, mode)
	i.content = content
	return i
}

func dir(n int, name string, mode int64) item { return entry(n, tar.TypeDir, name, mode) }

func symlink(n int, name, target string) item {
	i := entry(n, tar.TypeSymlink, name, 0o777)
	i.Linkname = target
	return i
}

// hardLink is another name of target, which the pod sees first.
func hardLink(name, target string) item {
	i := entry(0, tar.TypeLink, name, 0o644)
	i.Linkname, i.line = target, fmt.Sprintf("%q same as %q", "/"+name, "/"+target)
	return i
}

func device(n int, kind byte, name string, major, minor int64) item {
	i := entry(n, kind, name, 0o640)
	i.Devmajor, i.Devminor = major, minor
	return i
}

func (i item) with(xattrs map[string]string) item { i.xattrs = xattrs; return i }
func (i item) named(n int) item                   { i.line = fmt.Sprintf(" names=%d", n); return i }
func (i item) hidden() item                       { i.gone = true; return i }

// removed is a whiteout.
func removed(name string) item { return file(0, name, 0o600, "").hidden() }

// netBind is cap_net_bind_service=ep as the kernel keeps it (linux/capability.h, struct vfs_cap_data, revision 2).
const netBind = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// everything are layers with every kind of file, and with every way in which a layer changes those below.
func everything() [][]item {
	return [][]item{{
		dir(1, "./", 0o1751).with(map[string]string{"user.root": "yes"}),
		// Where these are missing they are made, as mount points, which changes the root's time.
		dir(1, "dev/", 0o755).hidden(), dir(1, "proc/", 0o755).hidden(), dir(1, "sys/", 0o755).hidden(), dir(1, "var/", 0o755).hidden(),
		dir(2, "x/", 0o755),
		dir(3, "x/set-id", 0o6775),
		dir(4, "x/sticky/", 0o1777).with(map[string]string{"trusted.dir": "\x00\xff", "user.dir": "d"}),
		file(5, "x/empty", 0o400, ""),
		file(6, "x/large", 0o644, strings.Repeat("0123456789abcdef", 100_000)),
		file(7, "x/setuid", 0o4755, "program").with(map[string]string{"security.capability": netBind, "user.a": "b", "user.none": ""}),
		file(8, "x/setgid", 0o2711, "program"),
		file(9, "x/no-mode", 0o7000, ""),
		file(10, "x/link-1", 0o600, "linked").named(3),
		hardLink("x/link-2", "x/link-1"),
		hardLink("x/sticky/link-3", "x/link-1"),
		symlink(11, "x/symlink", "large"),
		symlink(12, "x/dangling", "../../nowhere/at all"),
		entry(13, tar.TypeFifo, "x/fifo", 0o622),
		device(14, tar.TypeChar, "x/null", 1, 3),
		device(15, tar.TypeBlock, "x/disk", 259, 70_000),
		file(16, "x/bytes \xff\n\"", 0o644, "odd"),
		file(17, "x/before-1970", 0o644, "old"),
		// What the layer above changes.
		file(20, "x/removed", 0o644, "1").hidden(),
		dir(21, "x/removed-dir", 0o755).hidden(), file(22, "x/removed-dir/a", 0o644, "1").hidden(),
		dir(23, "x/opaque", 0o700).hidden(), file(24, "x/opaque/old", 0o644, "1").hidden(),
		file(25, "x/former", 0o644, "shared").hidden(), hardLink("x/kept", "x/former").hidden(), hardLink("x/kept-2", "x/former").hidden(),
		dir(26, "x/dir-to-symlink", 0o755).hidden(), file(27, "x/dir-to-symlink/a", 0o644, "1").hidden(),
		symlink(28, "x/symlink-to-dir", "sticky").hidden(),
		file(29, "x/file-to-dir", 0o644, "1").hidden(),
		dir(30, "x/there-and-back", 0o755).hidden(), file(31, "x/there-and-back/a", 0o644, "1").hidden(),
		dir(32, "x/changed", 0o755).hidden(), file(33, "x/changed/stays", 0o644, "1"),
	}, {
		removed("x/.wh.removed"), removed("x/.wh.removed-dir"),
		dir(40, "x/opaque", 0o710), removed("x/opaque/.wh..wh..opq"), file(41, "x/opaque/new", 0o644, "2"),
		file(42, "x/former", 0o644, "another"),
		symlink(43, "x/dir-to-symlink", "sticky"),
		dir(44, "x/symlink-to-dir", 0o750), file(45, "x/symlink-to-dir/a", 0o644, "2"),
		dir(46, "x/file-to-dir", 0o700),
		symlink(47, "x/there-and-back", "opaque").hidden(),
		dir(48, "x/changed", 0o2700).with(map[string]string{"user.new": "n"}),
	}, {
		dir(50, "x/there-and-back", 0o711), file(51, "x/there-and-back/b", 0o644, "3"),
	}}
}

// expected is what testpod tree shall print, in order.
func expected(layers [][]item) string {
	lines := map[string]string{}
	for _, layer := range layers {
		for _, i := range layer {
			switch {
			case i.gone:
			case i.Typeflag == tar.TypeLink:
				lines[i.path()] = i.line
			default:
				if i.Name == "./" {
					i.Name = ""
				}
				lines[i.path()] = i.seen()
			}
		}
	}
	// The names that are left of a hard link whose first one was replaced are one file.
	kept := file(25, "x/kept", 0o644, "shared").named(2)
	lines["/x/kept"], lines["/x/kept-2"] = kept.seen(), `"/x/kept-2" same as "/x/kept"`
	return strings.Join(slices.Collect(func(yield func(string) bool) {
		for _, path := range slices.SortedFunc(maps.Keys(lines), inWalkOrder) {
			if !yield(lines[path]) {
				return
			}
		}
	}), "\n") + "\n"
}

// inWalkOrder puts a directory's contents after it and before what follows it.
func inWalkOrder(a, b string) int {
	return slices.Compare(strings.Split(strings.TrimSuffix(a, "/"), "/"), strings.Split(strings.TrimSuffix(b, "/"), "/"))
}

func TestAnImageArrivesExactly(t *testing.T) {
	t.Parallel()
	layers := everything()
	layers[0][slices.IndexFunc(layers[0], func(i item) bool { return i.Name == "x/before-1970" })].ModTime = time.Unix(-1_000_000_000, 987_654_321)
	img := builtImage
	for _, items := range layers {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, i := range items {
			require.NoError(t, w.WriteHeader(i.header()), i.Name)
			_, err := w.Write([]byte(i.content))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		var err error
		img, err = mutate.AppendLayers(img, static.NewLayer(b.Bytes(), types.OCIUncompressedLayer))
		require.NoError(t, err)
	}
	registry, err := testregistry.Start(context.Background(), nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, registry.Close()) })

	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "exact", "", restart(corev1.RestartPolicyNever), func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Image, c.Command = push(t, registry, "exact:1", img), []string{"/testpod", "tree", "/", "/x"}
		c.SecurityContext = &corev1.SecurityContext{Privileged: new(true)} // to read trusted attributes
	}))
	shared.waitPod(t, p, "has ended", func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
	assert.Equal(t, expected(layers), shared.kubectl(t, "-n", ns, "logs", "exact"))
}
