package flatten_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

func octal(n uint32) string { return strconv.FormatUint(uint64(n), 8) }

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return b
}

func TestTimesAreExact(t *testing.T) {
	for _, year := range []int{1902, 1969, 1970, 2026, 2039, 2107, 2200, 2300, 2311, 2377, 2379, 2445} {
		at := time.Date(year, 3, 4, 5, 6, 7, 123456789, time.UTC)
		disk := flattenToDisk(t, []entry{{hdr: tar.Header{Typeflag: tar.TypeReg, Name: "a", ModTime: at, Format: tar.FormatPAX}}})
		want := fmt.Sprintf("%d.%09d", at.Unix(), at.Nanosecond())
		require.Equal(t, want, describeDisk(t, disk)["/a"].ModTime, "%s", at)
	}
}

func TestAttributesInAllTheirPlacesAreFound(t *testing.T) {
	// They fill the inode and go on in a block, where the kernel finds them only if they are in its order.
	want := map[string]string{}
	for i := range 12 {
		for _, space := range []string{"user", "trusted", "security"} {
			want[fmt.Sprintf("%s.%s", space, strings.Repeat(string(rune('a'+i)), 20-i))] = strings.Repeat("v", i*3)
		}
	}
	records := map[string]string{"SCHILY.xattr.com.apple.quarantine": "not for Linux", "comment": "not one"}
	for name, value := range want {
		records["SCHILY.xattr."+name] = value
	}
	disk := flattenToDisk(t, []entry{{hdr: tar.Header{Typeflag: tar.TypeReg, Name: "a", PAXRecords: records, Format: tar.FormatPAX}}})
	check(t, disk)
	require.Equal(t, want, describeDisk(t, disk)["/a"].Xattrs)
}

func TestAccessControlListsAreAsInTheLayer(t *testing.T) {
	// Version 2: owner rwx, user 1000 r-x, group r--, mask r-x, others ---.
	acl := "\x02\x00\x00\x00" +
		"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\xe8\x03\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	records := map[string]string{
		"SCHILY.xattr.system.posix_acl_access": acl, "SCHILY.xattr.system.posix_acl_default": acl, "SCHILY.xattr.user.x": "1",
	}
	disk := flattenToDisk(t, []entry{{hdr: tar.Header{Typeflag: tar.TypeDir, Name: "a/", Mode: 0o750, PAXRecords: records, Format: tar.FormatPAX}}})
	check(t, disk)
	require.Equal(t, map[string]string{
		"system.posix_acl_access": acl, "system.posix_acl_default": acl, "user.x": "1",
	}, describeDisk(t, disk)["/a"].Xattrs)
}

func TestTimesThatExt4LacksAreClampedAsLinuxDoes(t *testing.T) {
	for at, want := range map[time.Time]int64{
		time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC): -1 << 31, time.Date(2600, 1, 1, 0, 0, 0, 0, time.UTC): 0x37fffffff,
	} {
		disk := flattenToDisk(t, []entry{{hdr: tar.Header{Typeflag: tar.TypeReg, Name: "a", ModTime: at, Format: tar.FormatPAX}}})
		require.Equal(t, fmt.Sprintf("%d.%09d", want, 0), describeDisk(t, disk)["/a"].ModTime)
	}
}

func TestAttributesThatDoNotFitAreRefusedAtOnce(t *testing.T) {
	full := func(extra int) entry {
		// 2 x 16 bytes for the entries, 8 for the names without their prefix; the first goes into the inode.
		return entry{hdr: tar.Header{Typeflag: tar.TypeReg, Name: "a", Format: tar.FormatPAX, PAXRecords: map[string]string{
			"SCHILY.xattr.user.aaaa": strings.Repeat("v", 76), "SCHILY.xattr.user.bbbb": strings.Repeat("v", 4040+extra),
		}}}
	}
	limits := flatten.Limits{XattrBytes: 1 << 20}
	f := flatten.New(tempFile(t), limits)
	require.NoError(t, f.AddLayer(t.Context(), "test", bytes.NewReader(layerOf(t, []entry{full(0)}))))
	disk := tempFile(t)
	require.NoError(t, f.WriteExt4(t.Context(), disk))
	check(t, disk.Name())
	require.Len(t, describeDisk(t, disk.Name())["/a"].Xattrs, 2)

	err := flatten.New(tempFile(t), limits).AddLayer(t.Context(), "test", bytes.NewReader(layerOf(t, []entry{full(1)})))
	require.ErrorIs(t, err, flatten.ErrTooLarge)
	require.ErrorContains(t, err, "user.bbbb")
}

func TestNotesOfOverlayfsAreLeftOut(t *testing.T) {
	disk := flattenToDisk(t, []entry{{hdr: tar.Header{Typeflag: tar.TypeDir, Name: "a/", Format: tar.FormatPAX, PAXRecords: map[string]string{
		"SCHILY.xattr.trusted.overlay.redirect": "/etc", "SCHILY.xattr.trusted.overlay.opaque": "y", "SCHILY.xattr.user.overlay": "1",
	}}}})
	require.Equal(t, map[string]string{"user.overlay": "1"}, describeDisk(t, disk)["/a"].Xattrs)
}

func TestFlatteningEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := flatten.New(tempFile(t), flatten.Limits{})
	layer := layerOf(t, []entry{file("a", "1")})
	require.NoError(t, f.AddLayer(ctx, "test", bytes.NewReader(layer)))
	cancel()
	require.ErrorIs(t, f.AddLayer(ctx, "test", bytes.NewReader(layer)), context.Canceled)
	require.ErrorIs(t, f.WriteExt4(ctx, tempFile(t)), context.Canceled)
}

func BenchmarkFlatten(b *testing.B) {
	// Three layers of 2,000 files each, like a language's runtime: 94 MB, a fifth of it hidden again.
	var layers [][]byte
	var total int64
	for l := range 3 {
		var entries []entry
		for i := range 2000 {
			if l > 0 && i%5 == 0 {
				entries = append(entries, mark(fmt.Sprintf("usr/lib/%d/.wh.%d", i%40, i)))
				continue
			}
			entries = append(entries, file(fmt.Sprintf("usr/lib/%d/%d", i%40, i), strings.Repeat("0123456789abcdef", 8*(i%256))))
		}
		layer := layerOf(b, entries)
		layers = append(layers, layer)
		total += int64(len(layer))
	}
	b.SetBytes(total)
	for b.Loop() {
		spool, disk := tempFile(b), tempFile(b)
		f := flatten.New(spool, flatten.Limits{})
		for _, l := range layers {
			require.NoError(b, f.AddLayer(b.Context(), "test", bytes.NewReader(l)))
		}
		require.NoError(b, f.WriteExt4(b.Context(), disk))
		require.NoError(b, os.Truncate(spool.Name(), 0))
		require.NoError(b, os.Truncate(disk.Name(), 0))
	}
}
