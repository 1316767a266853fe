package flatten_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

// fuzzLimits let an input cost milliseconds.
var fuzzLimits = flatten.Limits{Bytes: 1 << 20, Entries: 200, Depth: 20, MetadataBytes: 64 << 10}

// FuzzLayer reads anything as two layers. What is taken can be written, and what is refused is the layer's fault.
func FuzzLayer(f *testing.F) {
	for _, layer := range seedLayers(f) {
		f.Add(layer, layerOf(f, []entry{mark(".wh.a"), file("b", "1")}))
		f.Add(layerOf(f, []entry{dir("a"), file("a/b", "1"), symlink("c", "a")}), layer)
	}
	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		fl := flatten.New(&memory{}, fuzzLimits)
		for _, layer := range [][]byte{lower, upper} {
			if err := fl.AddLayer(t.Context(), "fuzz", bytes.NewReader(layer)); err != nil {
				requireBlame(t, err)
				return
			}
		}
		if err := fl.WriteExt4(t.Context(), &memory{}); err != nil {
			require.ErrorIs(t, err, flatten.ErrTooLarge)
		}
	})
}

// FuzzTree makes layers out of few names, so that they collide, and has e2fsck look at every disk.
func FuzzTree(f *testing.F) {
	f.Add([]byte("\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"))
	f.Add([]byte("\x10\x00\x20\x11\xff\x31\x00\x42\x10\x53\x21\xff\x64\x00\x75\x10"))
	f.Add(bytes.Repeat([]byte("\x00\x10\x71\x00\xff"), 12))
	f.Fuzz(func(t *testing.T, steps []byte) {
		fl := flatten.New(&memory{}, fuzzLimits)
		for _, layer := range layersFrom(steps) {
			if err := fl.AddLayer(t.Context(), "fuzz", bytes.NewReader(layerOf(t, layer))); err != nil {
				requireBlame(t, err)
				return
			}
		}
		disk := tempFile(t)
		require.NoError(t, fl.WriteExt4(t.Context(), disk))
		check(t, disk.Name())
	})
}

func requireBlame(t *testing.T, err error) {
	t.Helper()
	require.True(t, errors.Is(err, flatten.ErrMalformed) || errors.Is(err, flatten.ErrTooLarge), "%v", err)
	require.Less(t, len(err.Error()), 4096)
}

// layersFrom reads steps two bytes each: what to make and where; 0xff begins another layer.
func layersFrom(steps []byte) [][]entry {
	layers := [][]entry{nil}
	name := func(b byte) string {
		parts := []string{"a", "b", "a/b", "b/a", "lost+found", "a/b/c", "lost+found/a", "."}
		return parts[b&7]
	}
	for len(steps) >= 2 && len(layers) < 5 {
		what, where := steps[0], steps[1]
		steps = steps[2:]
		if what == 0xff {
			layers = append(layers, nil)
			continue
		}
		last := &layers[len(layers)-1]
		if e, ok := stepEntry(what, name(where), name(where>>3)); ok {
			*last = append(*last, e)
		}
	}
	return layers
}

func stepEntry(what byte, name, other string) (entry, bool) {
	attributes := tar.Header{Typeflag: tar.TypeReg, Name: name, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"SCHILY.xattr.user.z": strings.Repeat("v", int(what)), "SCHILY.xattr.user.long.name": strings.Repeat("w", int(what)),
	}}
	switch what & 7 {
	case 0:
		return dir(name), true
	case 1:
		return file(name, strings.Repeat("x", int(what)*40)), true
	case 2:
		return symlink(name, other), true
	case 3:
		return hardlink(name, other), true
	case 4:
		at := strings.LastIndexByte(name, '/') + 1
		return mark(name[:at] + ".wh." + name[at:]), true
	case 5:
		return mark(name + "/.wh..wh..opq"), true
	case 6:
		return entry{hdr: tar.Header{Typeflag: tar.TypeChar, Name: name, Devmajor: int64(what), Devminor: 1}}, true
	default:
		return entry{hdr: attributes}, what&8 == 0
	}
}

// seedLayers are archives of every kind of entry and format.
func seedLayers(tb testing.TB) [][]byte {
	tb.Helper()
	var all [][]byte
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		var entries []entry
		for _, e := range []entry{
			dir("a"), file("a/b", "content"), symlink("c", "../a"), hardlink("d", "a/b"), mark("a/.wh.b"), mark("a/.wh..wh..opq"),
			{hdr: tar.Header{Typeflag: tar.TypeFifo, Name: "e", Mode: 0o4755}},
			{hdr: tar.Header{Typeflag: tar.TypeChar, Name: "f", Devmajor: 1, Devminor: 3}},
			file("lost+found", "1"),
		} {
			e.hdr.Format = format
			entries = append(entries, e)
		}
		all = append(all, layerOf(tb, entries))
	}
	acl := "\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff"
	return append(all, layerOf(tb, []entry{{hdr: tar.Header{
		Typeflag: tar.TypeReg, Name: strings.Repeat("é", 120), Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.system.posix_acl_access": acl, "SCHILY.xattr.user.a": "1"},
	}}}))
}

// memory is a file in memory.
type memory struct {
	b  []byte
	at int64
}

func (m *memory) Write(p []byte) (int, error) {
	n, err := m.WriteAt(p, m.at)
	m.at += int64(n)
	return n, err
}

func (m *memory) WriteAt(p []byte, offset int64) (int, error) {
	if grow := offset + int64(len(p)) - int64(len(m.b)); grow > 0 {
		m.b = append(m.b, make([]byte, grow)...)
	}
	return copy(m.b[offset:], p), nil
}

func (m *memory) Read(p []byte) (int, error) {
	n, err := m.ReadAt(p, m.at)
	m.at += int64(n)
	return n, err
}

func (m *memory) ReadAt(p []byte, offset int64) (int, error) {
	if offset >= int64(len(m.b)) {
		return 0, io.EOF
	}
	n := copy(p, m.b[offset:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (m *memory) Seek(offset int64, whence int) (int64, error) {
	if whence != io.SeekStart {
		return 0, os.ErrInvalid
	}
	m.at = offset
	return offset, nil
}
