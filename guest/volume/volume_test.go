package volume_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/volume"
	"github.com/virtual-kubelet/vic/guest/wire"
)

// set has a volume of each kind, named as its kind.
func set(t *testing.T) (*volume.Set, string) {
	t.Helper()
	dir := t.TempDir()
	s := volume.New(volume.Config{
		Scratch:     filepath.Join(dir, "scratch"),
		Memory:      filepath.Join(dir, "memory"),
		MountMemory: func(string, int64) error { return nil },
	})
	for _, kind := range []wire.VolumeKind{wire.VolumeScratch, wire.VolumeMemory, wire.VolumeFiles} {
		require.NoError(t, s.Add(t.Context(), wire.Volume{Name: string(kind), Kind: kind}))
	}
	return s, dir
}

func source(t *testing.T, s *volume.Set, m wire.Mount) string {
	t.Helper()
	p, err := s.Source(m)
	require.NoError(t, err)
	return p
}

func files(entries ...string) wire.Files {
	f := wire.Files{Volume: "files"}
	for _, e := range entries {
		path, data, _ := strings.Cut(e, "=")
		f.Files = append(f.Files, wire.File{Path: path, Mode: 0o640, Data: []byte(data)})
	}
	return f
}

// list returns the files that a user of the volume sees.
func list(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	top, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range top {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		real, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		require.NoError(t, filepath.Walk(real, func(p string, fi os.FileInfo, err error) error {
			if err != nil || fi.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			got[e.Name()+strings.TrimPrefix(p, real)] = string(b)
			return err
		}))
	}
	return got
}

func TestPutReplacesTheWhole(t *testing.T) {
	s, _ := set(t)
	dir := source(t, s, wire.Mount{Volume: "files"})
	require.NoError(t, s.Put(files("a=1", "d/b=2", "d/e/c=3")))
	require.Equal(t, map[string]string{"a": "1", "d/b": "2", "d/e/c": "3"}, list(t, dir))
	fi, err := os.Stat(filepath.Join(dir, "a"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o640), fi.Mode())

	require.NoError(t, s.Put(files("a=4", "f=5")))
	require.Equal(t, map[string]string{"a": "4", "f": "5"}, list(t, dir))
	versions, err := filepath.Glob(filepath.Join(dir, "..v_*"))
	require.NoError(t, err)
	require.Len(t, versions, 1, "the former version is removed")
}

func TestAReaderNeverSeesAMixture(t *testing.T) {
	s, _ := set(t)
	dir := source(t, s, wire.Mount{Volume: "files"})
	require.NoError(t, s.Put(files("a=0", "b=0")))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			assert.NoError(t, s.Put(files(fmt.Sprintf("a=%d", i), fmt.Sprintf("b=%d", i))))
		}
	}()
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		default:
		}
		version, err := filepath.EvalSymlinks(filepath.Join(dir, "..data"))
		if err != nil {
			continue // replaced meanwhile
		}
		a, errA := os.ReadFile(filepath.Join(version, "a"))
		b, errB := os.ReadFile(filepath.Join(version, "b"))
		if errA == nil && errB == nil {
			require.Equal(t, string(a), string(b))
		}
	}
}

func TestPutRefuses(t *testing.T) {
	s, dir := set(t)
	for name, f := range map[string]wire.Files{
		"a path that leads out":        files("../x=1"),
		"a path that leads out within": files("a/../../x=1"),
		"an absolute path":             files("/etc/x=1"),
		"an empty path":                files("=1"),
		"the name of our own link":     files("..data=1"),
		"a volume that is not there":   {Volume: "other"},
		"a volume of another kind":     {Volume: "scratch"},
	} {
		t.Run(name, func(t *testing.T) { require.Error(t, s.Put(f)) })
	}
	_, err := os.Stat(filepath.Join(dir, "memory", "x"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func TestAddRefuses(t *testing.T) {
	s, _ := set(t)
	require.NoError(t, s.Add(t.Context(), wire.Volume{Name: "scratch", Kind: wire.VolumeScratch}), "the same again is not a change")
	for name, v := range map[string]wire.Volume{
		"a name with a path": {Name: "a/b", Kind: wire.VolumeScratch},
		"no name":            {Kind: wire.VolumeScratch},
		"another of a name":  {Name: "scratch", Kind: wire.VolumeMemory},
		"an unknown kind":    {Name: "x", Kind: "nfs"},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, s.Add(t.Context(), v), volume.ErrInvalid) })
	}
}

func TestSourceOfASubPath(t *testing.T) {
	s, _ := set(t)
	require.NoError(t, s.Put(files("a=1", "d/b=2")))
	b, err := os.ReadFile(source(t, s, wire.Mount{Volume: "files", SubPath: "d/b"}))
	require.NoError(t, err)
	require.Equal(t, "2", string(b))

	fi, err := os.Stat(source(t, s, wire.Mount{Volume: "scratch", SubPath: "new/dir"}))
	require.NoError(t, err)
	require.True(t, fi.IsDir())

	scratch := source(t, s, wire.Mount{Volume: "scratch"})
	require.NoError(t, os.Symlink("/etc", filepath.Join(scratch, "link")))
	_, err = s.Source(wire.Mount{Volume: "files", SubPath: "absent"})
	require.ErrorIs(t, err, os.ErrNotExist)
	for _, sub := range []string{"../x", "/etc", "."} {
		_, err = s.Source(wire.Mount{Volume: "scratch", SubPath: sub})
		require.ErrorIs(t, err, volume.ErrInvalid, sub)
	}
	require.NoError(t, os.Mkdir(filepath.Join(scratch, "etc"), 0o755))
	require.Equal(t, filepath.Join(scratch, "etc"), source(t, s, wire.Mount{Volume: "scratch", SubPath: "link"}),
		"a link is followed inside the volume")
}

func TestMkdirAllStaysInside(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	require.NoError(t, os.Symlink(outside, filepath.Join(root, "out")))
	require.Error(t, volume.MkdirAll(root, "/out/x"))
	require.NoError(t, volume.MkdirAll(root, "/a/b/../c"))
	require.DirExists(t, filepath.Join(root, "a/c"))
	require.NoDirExists(t, filepath.Join(outside, "x"))
}
