package flatten_test

import (
	"archive/tar"
	"math/rand/v2"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// generator makes random layers over few names, so that they collide, and keeps the reference in step.
type generator struct {
	rnd *rand.Rand
	ref *reference
}

// layer returns a random layer that a correct tool could have written, and has applied it to the reference.
func (g *generator) layer(t *testing.T) []entry {
	t.Helper()
	var marks, files []entry
	protected := map[string]bool{}
	g.ref.inside(t, func() {
		for range g.rnd.IntN(5) {
			if e := g.whiteout(); g.fits(e) {
				assert.NoError(t, g.ref.hide(e))
				protect(protected, e)
				marks = append(marks, e)
			}
		}
		for range 1 + g.rnd.IntN(25) {
			e := g.entry()
			if !g.ref.accepts(e) || g.contradicts(e, protected) {
				continue
			}
			name, err := g.ref.resolve(e.hdr.Name, true)
			assert.NoError(t, err)
			assert.NoError(t, g.ref.put(name, e), "%+v", e.hdr)
			files = append(files, e)
		}
	})
	for _, m := range marks {
		files = slices.Insert(files, g.rnd.IntN(len(files)+1), m)
	}
	return files
}

// fits refuses a mark whose directory is reached through a link: no tool writes one, and its meaning depends on the order of
// entries.
func (g *generator) fits(e entry) bool {
	dir := path.Dir(path.Clean("/" + e.hdr.Name))
	real, err := g.ref.resolve(path.Join(dir, "x"), false)
	return err == nil && path.Dir(real) == dir
}

// contradicts reports whether e and the layer's whiteouts would mean something else in another order: e is not a directory where
// a whiteout needs one, or uses a directory that the layer does not describe.
func (g *generator) contradicts(e entry, protected map[string]bool) bool {
	name, err := g.ref.resolve(e.hdr.Name, false)
	return len(protected) > 0 && err != nil || protected[name] && e.hdr.Typeflag != tar.TypeDir
}

// protect keeps the directories of e directories, for the same reason.
func protect(protected map[string]bool, e entry) {
	for d := path.Clean("/" + e.hdr.Name); d != "/"; {
		d = path.Dir(d)
		protected[d] = true
	}
}

func (g *generator) name() string {
	parts := make([]string, 1+g.rnd.IntN(3))
	for i := range parts {
		parts[i] = pick(g.rnd, "a", "b", "c", "d", "é\xff", "lost+found")
	}
	return strings.Join(parts, "/")
}

func (g *generator) whiteout() entry {
	dir, base := path.Split(g.name())
	name := dir + ".wh." + base
	if g.rnd.IntN(3) == 0 {
		name = path.Join(dir, base, ".wh..wh..opq")
	}
	return entry{hdr: tar.Header{Typeflag: tar.TypeReg, Name: name, Format: tar.FormatPAX}}
}

func (g *generator) entry() entry {
	name := pick(g.rnd, "", "./", "/") + g.name()
	if g.rnd.IntN(40) == 0 {
		return g.file("./", tar.TypeDir)
	}
	kind := pick[byte](g.rnd, tar.TypeDir, tar.TypeDir, tar.TypeDir, tar.TypeReg, tar.TypeReg, tar.TypeReg, tar.TypeLink,
		tar.TypeLink, tar.TypeSymlink, tar.TypeFifo, tar.TypeChar, tar.TypeBlock)
	return g.file(name, kind)
}

func (g *generator) file(name string, kind byte) entry {
	e := entry{hdr: tar.Header{
		Typeflag: kind, Name: name, Format: tar.FormatPAX,
		Mode: int64(g.rnd.IntN(0o10000)), Uid: g.rnd.IntN(200_000), Gid: g.rnd.IntN(200_000),
		ModTime: time.Unix(g.rnd.Int64N(17_000_000_000)-2_100_000_000, g.rnd.Int64N(1_000_000_000)),
	}}
	switch kind {
	case tar.TypeDir:
		e.hdr.Name += "/"
	case tar.TypeReg:
		e.data = strings.Repeat(strconv.Itoa(g.rnd.IntN(100)), g.rnd.IntN(5000)*g.rnd.IntN(3))
		e.hdr.Size = int64(len(e.data))
	case tar.TypeLink:
		e.hdr.Linkname = pick(g.rnd, "", "/", "./") + g.name()
		return e
	case tar.TypeSymlink:
		e.hdr.Linkname = pick(g.rnd, "", "/", "../", "../../../") + g.name() + pick(g.rnd, "", "", strings.Repeat("/x", 50))
		e.hdr.Mode = 0o777
	case tar.TypeChar, tar.TypeBlock:
		e.hdr.Devmajor, e.hdr.Devminor = g.rnd.Int64N(4096), g.rnd.Int64N(1<<20)
	}
	e.hdr.PAXRecords = g.xattrs(kind)
	return e
}

func (g *generator) xattrs(kind byte) map[string]string {
	names := []string{"trusted.a", "trusted.much.longer.name", "trusted.overlays"}
	if kind == tar.TypeReg || kind == tar.TypeDir {
		names = append(names, "user.z", "user.mime_type", "user.some.very.long.name.indeed", "user.b")
	}
	if kind == tar.TypeReg {
		names = append(names, "security.capability")
	}
	records := map[string]string{}
	for range max(0, g.rnd.IntN(12)-4) {
		name := pick(g.rnd, names...)
		value := strings.Repeat("\x00v\xff", g.rnd.IntN(40))
		if name == "security.capability" {
			value = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		}
		records["SCHILY.xattr."+name] = value
	}
	return records
}

func pick[T any](rnd *rand.Rand, from ...T) T { return from[rnd.IntN(len(from))] }
