package flatten_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

func TestLimitsHoldForAllLayersTogether(t *testing.T) {
	layer := layerOf(t, []entry{file("aaaa", strings.Repeat("1", 4096))})
	tests := map[string]struct {
		limits flatten.Limits
		want   string
	}{
		"bytes":    {flatten.Limits{Bytes: int64(len(layer)) + 100}, `layer upper: `},
		"entries":  {flatten.Limits{Entries: 1}, `layer upper: entry "aaaa": image too large: it has more than 1 entries`},
		"metadata": {flatten.Limits{MetadataBytes: 9}, `layer upper: entry "aaaa": image too large: its names`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := flatten.New(tempFile(t), tt.limits)
			require.NoError(t, f.AddLayer(t.Context(), "lower", bytes.NewReader(layer)))
			err := f.AddLayer(t.Context(), "upper", bytes.NewReader(layer))
			require.ErrorIs(t, err, flatten.ErrTooLarge)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestWhatOneEntryMayCostIsBounded(t *testing.T) {
	xattrs := func(value string) entry {
		return entry{hdr: tar.Header{Typeflag: tar.TypeReg, Name: "a", Format: tar.FormatPAX, PAXRecords: map[string]string{"SCHILY.xattr.user.b": value}}}
	}
	tests := map[string]struct {
		limits flatten.Limits
		layer  []entry
		want   string
	}{
		"folders in folders":                {flatten.Limits{Depth: 3}, []entry{file("a/b/c/d", "")}, "deeper than 3"},
		"folders in folders, through links": {flatten.Limits{Depth: 3}, []entry{symlink("a", "b/c"), file("a/d/e", "")}, "deeper than 3"},
		"folders to the default":            {flatten.Limits{}, []entry{file(strings.Repeat("d/", 255)+"x", "")}, "deeper than 255"},
		"attributes":                        {flatten.Limits{XattrBytes: 100}, []entry{xattrs(strings.Repeat("v", 95))}, "more than 100 bytes"},
		"a link's target":                   {flatten.Limits{MetadataBytes: 100}, []entry{symlink("a", strings.Repeat("x", 100))}, "more than 100 bytes"},
		"a whiteout":                        {flatten.Limits{MetadataBytes: 100}, []entry{mark(strings.Repeat("x", 100) + "/.wh.a")}, "more than 100 bytes"},
		"whiteouts":                         {flatten.Limits{Entries: 2}, []entry{mark(".wh.a"), mark(".wh.b"), mark(".wh.c")}, "more than 2 entries"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			err := flatten.New(tempFile(t), tt.limits).AddLayer(t.Context(), "test", bytes.NewReader(layerOf(t, tt.layer)))
			require.ErrorIs(t, err, flatten.ErrTooLarge)
			require.ErrorContains(t, err, tt.want)
		})
	}
	f := flatten.New(tempFile(t), flatten.Limits{Depth: 4})
	require.NoError(t, f.AddLayer(t.Context(), "test", bytes.NewReader(layerOf(t, []entry{file("a/b/c/d", "")}))), "a limit is what is allowed")
}

// A sparse file says in a few bytes that it is huge (GNU tar manual, "Storing Sparse Files", format 1.0).
func TestASparseBombIsRefused(t *testing.T) {
	hdr := tar.Header{Typeflag: tar.TypeReg, Name: "bomb", Size: 512, Format: tar.FormatPAX}
	layer := layerOf(t, []entry{{hdr: hdr, data: "0\n" + strings.Repeat("\x00", 510)}})
	records := "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n34 GNU.sparse.realsize=9999999999\n"
	pax := tar.Header{Typeflag: tar.TypeReg, Name: "PaxHeaders.0/bomb", Size: int64(len(records))}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&pax))
	_, err := io.WriteString(w, records)
	require.NoError(t, err)
	require.NoError(t, w.Flush())
	header := b.Bytes()
	header[156] = tar.TypeXHeader
	setChecksum(header[:512])

	err = flatten.New(tempFile(t), flatten.Limits{Bytes: 1 << 30}).AddLayer(t.Context(), "test", io.MultiReader(bytes.NewReader(header), bytes.NewReader(layer)))
	require.ErrorIs(t, err, flatten.ErrTooLarge)
	require.ErrorContains(t, err, `entry "bomb"`)
}

// setChecksum makes a header block valid again (pax(1), "ustar Interchange Format").
func setChecksum(block []byte) {
	copy(block[148:156], "        ")
	sum := 0
	for _, c := range block {
		sum += int(c)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

func TestMoreMemoryIsAskedForOnceAndOnlyForALargeImage(t *testing.T) {
	tests := map[string]struct {
		reserve flatten.Reserve
		want    int
	}{
		"as many entries as the reserve has": {flatten.Reserve{Entries: 4, MetadataBytes: 1 << 10}, 0},
		"more entries":                       {flatten.Reserve{Entries: 2, MetadataBytes: 1 << 10}, 1},
		"more metadata":                      {flatten.Reserve{Entries: 4, MetadataBytes: 5}, 1},
	}
	layer := layerOf(t, crowd(4, func(i int) entry { return file(strconv.Itoa(i), "") }))
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			asked := 0
			tt.reserve.More = func(context.Context) error { asked++; return nil }
			f := flatten.New(tempFile(t), flatten.Limits{})
			f.SetReserve(tt.reserve)
			require.NoError(t, f.AddLayer(t.Context(), "lower", bytes.NewReader(layer)))
			require.Equal(t, tt.want, asked)
			require.NoError(t, f.AddLayer(t.Context(), "upper", bytes.NewReader(layer)))
			require.Equal(t, 1, asked, "both layers together are more, and it was asked once")
		})
	}
	refused := errors.New("no memory")
	f := flatten.New(tempFile(t), flatten.Limits{})
	f.SetReserve(flatten.Reserve{More: func(context.Context) error { return refused }})
	require.ErrorIs(t, f.AddLayer(t.Context(), "test", bytes.NewReader(layer)), refused)
}

func crowd(n int, make func(i int) entry) []entry {
	entries := []entry{}
	for i := range n {
		entries = append(entries, make(i))
	}
	return entries
}

func TestMoreDirectoriesThanExt4CountsAreRefused(t *testing.T) {
	const most = 64997
	sub := func(i int) entry { return dir(fmt.Sprintf("sub/%06d", i)) }
	f := flatten.New(tempFile(t), flatten.Limits{})
	require.NoError(t, f.AddLayer(t.Context(), "lower", bytes.NewReader(layerOf(t, crowd(most, sub)))))
	require.NoError(t, f.AddLayer(t.Context(), "upper", bytes.NewReader(layerOf(t, []entry{sub(most)}))))
	err := f.WriteExt4(t.Context(), tempFile(t))
	require.ErrorIs(t, err, flatten.ErrTooLarge)
	require.ErrorContains(t, err, `layer upper: entry "sub/064997": image too large: more than 64997 directories in one`)
}

// A name, a target and an attribute are cut out of a header that can be a megabyte; none may keep it.
func TestHeadersAreNotKept(t *testing.T) {
	const entries, headerBytes = 50, 900 << 10
	comment := strings.Repeat("c", headerBytes)
	kinds := map[string]func(name string) tar.Header{
		"names":      func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} },
		"links":      func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: name} },
		"whiteouts":  func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: ".wh." + name} },
		"attributes": func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} },
	}
	for kind, hdr := range kinds {
		t.Run(kind, func(t *testing.T) {
			r, w := io.Pipe()
			before := heap()
			during := make(chan uint64, 1)
			go func() {
				// Ends when all is written.
				tw := tar.NewWriter(w)
				for i := range entries {
					h := hdr(fmt.Sprintf("é%d", i)) // not ASCII: so it is a PAX record
					h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"comment": comment}
					if kind == "attributes" {
						h.PAXRecords["SCHILY.xattr.user.a"] = "1"
					}
					if err := tw.WriteHeader(&h); err != nil {
						break
					}
				}
				during <- heap()
				_ = w.CloseWithError(tw.Close()) // always nil
			}()
			f := flatten.New(tempFile(t), flatten.Limits{})
			require.NoError(t, f.AddLayer(t.Context(), "test", r))
			grown := int64(<-during) - int64(before)
			runtime.KeepAlive(f)
			require.Less(t, grown, int64(entries*headerBytes/4))
		})
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
