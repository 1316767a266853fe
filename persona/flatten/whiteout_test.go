package flatten_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

// file, dir, symlink, hardlink and mark make entries without anything special.
func file(name, content string) entry {
	return entry{hdr: tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, data: content}
}

func dir(name string) entry {
	return entry{hdr: tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o700}}
}

func symlink(name, target string) entry {
	return entry{hdr: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}}
}

func hardlink(name, target string) entry {
	return entry{hdr: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}}
}

// detour is a link that goes a long way to another.
func detour(name, target string) entry { return symlink(name, strings.Repeat("../", 1300)+target) }

func mark(name string) entry { return file(name, "") }

func TestLayersLieOverEachOther(t *testing.T) {
	tests := map[string]struct {
		layers [][]entry
		// want is every name but the root: a file's content, a link's target after ->, a directory's mode after /.
		want map[string]string
	}{
		"a file replaces a file": {
			[][]entry{{file("a", "1")}, {file("a", "2")}},
			map[string]string{"a": "2"},
		},
		"a file replaces a directory with all in it": {
			[][]entry{{dir("a"), file("a/b", "1")}, {file("a", "2")}},
			map[string]string{"a": "2"},
		},
		"a directory comes back empty": {
			[][]entry{{dir("a"), file("a/b", "1")}, {file("a", "2")}, {dir("a"), file("a/c", "3")}},
			map[string]string{"a": "/700", "a/c": "3"},
		},
		"a directory over a link is no longer the link": {
			[][]entry{{dir("b"), symlink("a", "b")}, {dir("a"), file("a/c", "1")}},
			map[string]string{"a": "/700", "a/c": "1", "b": "/700"},
		},
		"a name goes through a link of a lower layer": {
			[][]entry{{dir("usr"), dir("usr/lib"), symlink("lib", "usr/lib")}, {file("lib/x", "1")}},
			map[string]string{"lib": "->usr/lib", "usr": "/700", "usr/lib": "/700", "usr/lib/x": "1"},
		},
		"a link leads nowhere above the root": {
			[][]entry{{symlink("a", "../../../b"), symlink("c", "/b"), file("a/x", "1"), file("c/y", "2")}},
			map[string]string{"a": "->../../../b", "c": "->/b", "b": "/755", "b/x": "1", "b/y": "2"},
		},
		"a file in a lower layer makes way for a directory that nobody describes": {
			[][]entry{{file("a", "1")}, {file("a/b", "2")}},
			map[string]string{"a": "/755", "a/b": "2"},
		},
		"an absolute name means the image's root": {
			[][]entry{{file("/a", "1")}},
			map[string]string{"a": "1"},
		},
		"a whiteout removes a file and a directory": {
			[][]entry{{file("a", "1"), dir("b"), file("b/c", "1")}, {mark(".wh.a"), mark(".wh.b")}},
			map[string]string{},
		},
		"a whiteout of nothing does nothing": {
			[][]entry{{file("a", "1")}, {mark(".wh.b"), mark("x/.wh.y"), mark("x/.wh..wh..opq"), mark(".wh."), mark(".wh..wh.plnk/1.2")}},
			map[string]string{"a": "1"},
		},
		"a whiteout spares its own layer before it": {
			[][]entry{{file("a", "1")}, {file("a", "2"), mark(".wh.a")}},
			map[string]string{"a": "2"},
		},
		"a whiteout spares its own layer behind it": {
			[][]entry{{file("a", "1")}, {mark(".wh.a"), file("a", "2")}},
			map[string]string{"a": "2"},
		},
		"a directory that is hidden and made again has only what is new": {
			[][]entry{{dir("a"), file("a/old", "1")}, {mark(".wh.a"), dir("a"), file("a/new", "2")}},
			map[string]string{"a": "/700", "a/new": "2"},
		},
		"a directory that is hidden and used has nothing of the old": {
			[][]entry{{dir("a"), file("a/old", "1")}, {file("a/new", "2"), mark(".wh.a")}},
			map[string]string{"a": "/755", "a/new": "2"},
		},
		"an opaque directory hides all below it and itself stays": {
			[][]entry{{dir("a"), dir("a/b"), file("a/b/c", "1"), file("a/d", "1")}, {mark("a/.wh..wh..opq"), file("a/e", "2")}},
			map[string]string{"a": "/700", "a/e": "2"},
		},
		"an opaque directory in place of a link hides nothing behind the link": {
			[][]entry{{dir("b"), file("b/x", "1"), symlink("a", "b")}, {dir("a"), mark("a/.wh..wh..opq"), file("a/y", "2")}},
			map[string]string{"a": "/700", "a/y": "2", "b": "/700", "b/x": "1"},
		},
		"an opaque root hides all": {
			[][]entry{{file("a", "1"), dir("b")}, {mark(".wh..wh..opq"), file("c", "2")}},
			map[string]string{"c": "2"},
		},
		"a hard link outlives its first name": {
			[][]entry{{file("a", "1"), hardlink("b", "a")}, {mark(".wh.a")}},
			map[string]string{"b": "1"},
		},
		"a hard link to a lower layer's file": {
			[][]entry{{file("z", "1")}, {hardlink("a", "/z")}},
			map[string]string{"a": "1", "z": "1"},
		},
		"a hard link to what the same layer hides": {
			[][]entry{{file("z", "1")}, {mark(".wh.z"), hardlink("a", "z")}},
			map[string]string{"a": "1"},
		},
		"a replaced name leaves the other names as they are": {
			[][]entry{{file("a", "1"), hardlink("b", "a")}, {file("a", "2")}},
			map[string]string{"a": "2", "b": "1"},
		},
		"a hard link to itself": {
			[][]entry{{file("a", "1"), hardlink("a", "a")}},
			map[string]string{"a": "1"},
		},
		"a hard link to a symbolic link": {
			[][]entry{{symlink("a", "x"), hardlink("b", "a")}},
			map[string]string{"a": "->x", "b": "->x"},
		},
		"no layer at all": {nil, map[string]string{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			disk := flattenToDisk(t, tt.layers...)
			check(t, disk)
			require.Equal(t, tt.want, outline(describeDisk(t, disk)))
		})
	}
}

func TestLostAndFoundIsAsInTheLayer(t *testing.T) {
	tests := map[string]struct {
		layers [][]entry
		want   map[string]string
	}{
		"a directory":                   {[][]entry{{dir("lost+found"), file("lost+found/a", "1")}}, map[string]string{"lost+found": "/700", "lost+found/a": "1"}},
		"a file":                        {[][]entry{{file("lost+found", "1")}}, map[string]string{"lost+found": "1"}},
		"a link":                        {[][]entry{{symlink("lost+found", "x")}}, map[string]string{"lost+found": "->x"}},
		"a file with several names":     {[][]entry{{file("a", "1"), hardlink("lost+found", "a"), hardlink("z", "a")}}, map[string]string{"a": "1", "lost+found": "1", "z": "1"}},
		"a file beside its stand-in":    {[][]entry{{file("lost+found", "1"), file("lost+00000", "2")}}, map[string]string{"lost+found": "1", "lost+00000": "2"}},
		"a file in place of one":        {[][]entry{{dir("lost+found")}, {file("lost+found", "1")}}, map[string]string{"lost+found": "1"}},
		"a file not in the root":        {[][]entry{{dir("a"), file("a/lost+found", "1")}}, map[string]string{"a": "/700", "a/lost+found": "1"}},
		"a file behind many other ones": {[][]entry{append(manyFiles(3000), file("lost+found", "1"))}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			disk := flattenToDisk(t, tt.layers...)
			check(t, disk)
			got := outline(describeDisk(t, disk))
			if tt.want == nil {
				require.Len(t, got, len(tt.layers[0]))
				tt.want, got = map[string]string{"lost+found": "1"}, map[string]string{"lost+found": got["lost+found"]}
			}
			require.Equal(t, tt.want, got)
		})
	}
}

func manyFiles(n int) []entry {
	files := make([]entry, n)
	for i := range files {
		files[i] = file(fmt.Sprintf("%06d", i), "")
	}
	return files
}

func outline(facts map[string]fileFacts) map[string]string {
	out := map[string]string{}
	for name, f := range facts {
		switch {
		case name == "":
		case f.Target != "":
			out[name[1:]] = "->" + f.Target
		case f.Mode&0o170000 == 0o040000:
			out[name[1:]] = "/" + octal(f.Mode&0o7777)
		default:
			out[name[1:]] = f.Content
		}
	}
	return out
}

func TestHardLinksShareAnInode(t *testing.T) {
	disk := flattenToDisk(t, []entry{file("z", "1"), hardlink("m", "z")}, []entry{dir("d"), hardlink("d/a", "m")})
	facts := describeDisk(t, disk)
	for _, name := range []string{"/d/a", "/m", "/z"} {
		require.EqualValues(t, 3, facts[name].Links, name)
		require.Equal(t, "/d/a", facts[name].FirstLinkName)
	}
}

func TestMalformedLayersAreRefused(t *testing.T) {
	long := strings.Repeat("x", 256)
	tests := map[string]struct {
		layer []entry
		want  string
	}{
		"a name that climbs out":        {[]entry{file("../a", "1")}, "climbs"},
		"a name that climbs inside":     {[]entry{file("a/../../etc/passwd", "1")}, "climbs"},
		"a whiteout that climbs out":    {[]entry{mark("../.wh.a")}, "climbs"},
		"a hard link to nothing":        {[]entry{hardlink("a", "../../etc/passwd")}, `"../../etc/passwd", which does not exist`},
		"a hard link to a directory":    {[]entry{dir("b"), hardlink("a", "b")}, "a directory"},
		"a hard link to the root":       {[]entry{hardlink("a", "/")}, "root"},
		"a root that is a file":         {[]entry{file(".", "")}, "root"},
		"a file used as a directory":    {[]entry{file("a", "1"), file("a/b", "1")}, `"a" is not a directory`},
		"links in a circle":             {[]entry{symlink("a", "b"), symlink("b", "a"), file("a/x", "1")}, "too many symbolic links"},
		"a name that is too long":       {[]entry{file(long, "1")}, "255"},
		"a path that is too long":       {[]entry{file(strings.Repeat(long[1:]+"/", 16)+"x", "1")}, "4095"},
		"a path that links make longer": {[]entry{symlink("a", strings.Repeat(long[1:]+"/", 15)), symlink("b", "a/"+strings.Repeat("yyyy/", 60)), file("b/z", "1")}, "4095"},
		"a way of too many steps":       {[]entry{detour("a", "b"), detour("b", "c"), detour("c", "d"), detour("d", "e"), file("a/z", "1")}, "steps"},
		"a target that is too long":     {[]entry{symlink("a", strings.Repeat("x", 4096))}, "symbolic link of 4096"},
		"a device that is none":         {[]entry{{hdr: tar.Header{Typeflag: tar.TypeChar, Name: "a", Devmajor: 5000}}}, "device 5000:0"},
		"an owner that is none":         {[]entry{{hdr: tar.Header{Typeflag: tar.TypeReg, Name: "a", Uid: -1, Format: tar.FormatGNU}}}, "owner"},
		"an unknown kind":               {[]entry{{hdr: tar.Header{Typeflag: 'V', Name: "a", Format: tar.FormatGNU}}}, "kind"},
		"a broken access control list": {
			[]entry{{hdr: tar.Header{Typeflag: tar.TypeReg, Name: "a", PAXRecords: map[string]string{"SCHILY.xattr.system.posix_acl_access": "bad"}}}},
			"access control list",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := flatten.New(tempFile(t), flatten.Limits{})
			err := f.AddLayer(t.Context(), "test", bytes.NewReader(layerOf(t, tt.layer)))
			require.ErrorIs(t, err, flatten.ErrMalformed)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestACutLayerIsRefused(t *testing.T) {
	layer := layerOf(t, []entry{file("a", strings.Repeat("1", 5000))})
	for _, n := range []int{100, 512, 3000} {
		f := flatten.New(tempFile(t), flatten.Limits{})
		require.ErrorIs(t, f.AddLayer(t.Context(), "test", bytes.NewReader(layer[:n])), flatten.ErrMalformed, "%d bytes", n)
	}
}

func TestTheSameLayersGiveTheSameBytes(t *testing.T) {
	layers := [][]entry{
		{dir("a"), file("a/b", strings.Repeat("1", 9000)), symlink("c", "a"), hardlink("d", "a/b")},
		{mark(".wh.c"), {hdr: tar.Header{
			Typeflag: tar.TypeReg, Name: "e", ModTime: time.Unix(7, 9), Format: tar.FormatPAX,
			PAXRecords: map[string]string{"SCHILY.xattr.user.b": "1", "SCHILY.xattr.user.a": "2", "SCHILY.xattr.trusted.c": ""},
		}}},
	}
	once, again := readFile(t, flattenToDisk(t, layers...)), readFile(t, flattenToDisk(t, layers...))
	require.True(t, bytes.Equal(once, again))
}

func TestTheRootHasNothingThatTheImageHasNot(t *testing.T) {
	facts := describeDisk(t, flattenToDisk(t, []entry{file("a", "1")}))
	require.Equal(t, []string{"", "/a"}, slices.Sorted(maps.Keys(facts)))
}
