package persona_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/persona"
)

func TestNormalizeName(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	tests := map[string]struct{ name, want string }{
		"a bare name is Docker Hub's official image": {"hello", "docker.io/library/hello:latest"},
		"a tag is kept":                      {"hello:1.2", "docker.io/library/hello:1.2"},
		"a path is a user's on Docker Hub":   {"me/hello", "docker.io/me/hello:latest"},
		"the hub's old host is the hub":      {"index.docker.io/hello", "docker.io/library/hello:latest"},
		"a dot makes a host":                 {"example.org/hello", "example.org/hello:latest"},
		"a port makes a host":                {"box:5000/a/b/c", "box:5000/a/b/c:latest"},
		"localhost is a host":                {"localhost/hello", "localhost/hello:latest"},
		"a digest needs no tag":              {"hello@" + digest, "docker.io/library/hello@" + digest},
		"of tag and digest the digest holds": {"hello:1@" + digest, "docker.io/library/hello@" + digest},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := persona.NormalizeName(tt.name)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestNormalizeNameQuotesWhatIsWrong(t *testing.T) {
	for _, bad := range []string{"", "Hello", "he llo", "hello:", "hello:a b", "../hello", "hello@md5:1", strings.Repeat("a", 64), "-"} {
		_, err := persona.NormalizeName(bad)
		require.ErrorIs(t, err, persona.ErrInvalidName, "%q", bad)
		require.ErrorContains(t, err, `"`+bad+`"`)
	}
}

func TestLookupFindsAnImageByAllItsNames(t *testing.T) {
	s := open(t, persona.Config{})
	img, err := s.Import(t.Context(), dockerSave(t, build(t, "x"), "hello"), "")
	require.NoError(t, err)
	short := strings.TrimPrefix(img.ID, "sha256:")[:12]
	for _, ref := range []string{"hello", "docker.io/library/hello:latest", "hello@" + img.Digest, img.ID, img.Digest, short} {
		got, err := s.Lookup(ref)
		require.NoError(t, err, ref)
		require.Equal(t, img, got)
	}
	for _, ref := range []string{"hello:2", "other", "other@" + img.Digest, "sha256:" + strings.Repeat("0", 64), strings.Repeat("0", 12)} {
		_, err := s.Lookup(ref)
		require.ErrorIs(t, err, persona.ErrNotFound, ref)
	}
	_, err = s.Lookup("Bad Name")
	require.ErrorIs(t, err, persona.ErrInvalidName)
}

func TestStoresOnOneDirectorySeeEachOther(t *testing.T) {
	dir := t.TempDir()
	one, two := open(t, persona.Config{Dir: dir}), open(t, persona.Config{Dir: dir})
	_, err := two.Lookup("hello")
	require.ErrorIs(t, err, persona.ErrNotFound)
	img, err := one.Import(t.Context(), dockerSave(t, build(t, "x"), "hello"), "")
	require.NoError(t, err)
	got, err := two.Lookup("hello")
	require.NoError(t, err)
	require.Equal(t, img, got)
	require.NoError(t, two.Remove(t.Context(), "hello"))
	_, err = one.Lookup("hello")
	require.ErrorIs(t, err, persona.ErrNotFound)
	got, err = open(t, persona.Config{Dir: dir}).Import(t.Context(), dockerSave(t, build(t, "x"), "hello"), "")
	require.NoError(t, err)
	require.Equal(t, img, got)
}

func TestImagesWithTheSameLayersShareADisk(t *testing.T) {
	dir := t.TempDir()
	s := open(t, persona.Config{Dir: dir})
	one, err := s.Import(t.Context(), dockerSave(t, build(t, "x"), "one"), "")
	require.NoError(t, err)
	two, err := s.Import(t.Context(), dockerSave(t, build(t, "x", func(s *ociimage.Spec) { s.Config.User = "7" }), "two"), "")
	require.NoError(t, err)
	require.NotEqual(t, one.ID, two.ID)
	require.Equal(t, one.DiskDigest, two.DiskDigest)
	requireClean(t, dir, 1)

	require.NoError(t, s.Remove(t.Context(), "one"))
	requireClean(t, dir, 1)
	diskHolds(t, s, two, "x")
	require.NoError(t, s.Remove(t.Context(), "two"))
	requireClean(t, dir, 0)
}

func TestRemoveTakesAwayANameAndThenTheImage(t *testing.T) {
	dir := t.TempDir()
	s := open(t, persona.Config{Dir: dir})
	path := dockerSave(t, build(t, "x"), "hello")
	for _, name := range []string{"one", "two"} {
		_, err := s.Import(t.Context(), path, name)
		require.NoError(t, err)
	}
	require.NoError(t, s.Remove(t.Context(), "one"))
	img, err := s.Lookup("two")
	require.NoError(t, err)
	require.Equal(t, []string{"two:latest"}, img.Names)
	src := s.Source(img)
	r, err := src.Open()
	require.NoError(t, err)

	require.NoError(t, s.Remove(t.Context(), img.ID))
	requireClean(t, dir, 0)
	_, err = r.Read(make([]byte, 512))
	require.NoError(t, err, "an open disk can be read on")
	require.NoError(t, r.Close())
	_, err = src.Open()
	require.ErrorIs(t, err, persona.ErrNotFound)
	require.ErrorIs(t, s.Remove(t.Context(), "two"), persona.ErrNotFound)
	require.ErrorIs(t, s.Remove(t.Context(), "Bad Name"), persona.ErrInvalidName)
}

func TestPruneRemovesWhatIsUnwanted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, persona.Config{Dir: dir})
	old, err := s.Import(t.Context(), dockerSave(t, build(t, "old"), "hello"), "")
	require.NoError(t, err)
	img, err := s.Import(t.Context(), dockerSave(t, build(t, "new"), "hello"), "")
	require.NoError(t, err)
	images, err := s.List()
	require.NoError(t, err)
	require.Len(t, images, 2)
	require.Equal(t, img, images[0], "those without a name come last")

	pruned, err := s.Prune(t.Context(), func(img persona.Image) bool { return len(img.Names) == 0 })
	require.NoError(t, err)
	require.Len(t, pruned, 1)
	require.Equal(t, old.ID, pruned[0].ID)
	requireClean(t, dir, 1)

	space, err := s.Space()
	require.NoError(t, err)
	require.Positive(t, space.CapacityBytes)
	require.GreaterOrEqual(t, space.CapacityBytes, space.AvailableBytes)
	require.Positive(t, s.Allocated(img))
	require.NoError(t, s.Discard(t.Context(), img.Digest))
	require.Zero(t, s.Allocated(img))
	require.NoError(t, s.Discard(t.Context(), img.Digest), "it is gone already")
	requireClean(t, dir, 0)
}

func TestSpaceIsCountedAsTheKubeletDoes(t *testing.T) {
	s := persona.Space{CapacityBytes: 1000, AvailableBytes: 125}
	require.Equal(t, 88, s.UsedPercent())
	require.EqualValues(t, 75, s.Excess(80))
}

func TestOpenRemovesWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	s := open(t, persona.Config{Dir: dir})
	img, err := s.Import(t.Context(), dockerSave(t, build(t, "x"), "hello"), "")
	require.NoError(t, err)
	crashed := filepath.Join(dir, "work", "sha256-"+strings.Repeat("b", 64))
	require.NoError(t, os.Mkdir(crashed, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(crashed, "disk"), []byte("half"), 0o600))
	// Between a disk's name and the index.
	orphan := filepath.Join(dir, "disks", "sha256-"+strings.Repeat("c", 64)+".ext4")
	require.NoError(t, os.WriteFile(orphan, []byte("whole"), 0o600))

	s = open(t, persona.Config{Dir: dir})
	requireClean(t, dir, 1)
	diskHolds(t, s, img, "x")
}

func TestAHalfWrittenDiskIsNotUsed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, persona.Config{Dir: dir})
	path := dockerSave(t, build(t, "hello there"), "hello")
	img, err := s.Import(t.Context(), path, "")
	require.NoError(t, err)
	require.NoError(t, s.Remove(t.Context(), "hello"))
	// As a conversion of the same image that was killed leaves it, with the store open all the while.
	crashed := filepath.Join(dir, "work", strings.ReplaceAll(img.DiskDigest, ":", "-"))
	require.NoError(t, os.Mkdir(crashed, 0o700))
	for _, name := range []string{"disk", "spool"} {
		require.NoError(t, os.WriteFile(filepath.Join(crashed, name), []byte("half"), 0o600))
	}
	again, err := s.Import(t.Context(), path, "")
	require.NoError(t, err)
	require.Equal(t, img, again)
	diskHolds(t, s, img, "hello there")
	requireClean(t, dir, 1)
}

func TestOpenLeavesAloneWhatAnotherProcessIsDoing(t *testing.T) {
	dir := t.TempDir()
	open(t, persona.Config{Dir: dir})
	name := "sha256-" + strings.Repeat("b", 64)
	busy := filepath.Join(dir, "work", name)
	require.NoError(t, os.Mkdir(busy, 0o700))
	lock, err := filelock.Try(filepath.Join(busy, "lock"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "disks", name+".ext4"), []byte("whole"), 0o600))

	open(t, persona.Config{Dir: dir})
	require.DirExists(t, busy)
	require.FileExists(t, filepath.Join(dir, "disks", name+".ext4"))
	require.NoError(t, lock.Close())
	open(t, persona.Config{Dir: dir})
	requireClean(t, dir, 0)
}

func TestAnImageWhoseDiskIsGoneIsPulledAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, persona.Config{Dir: dir})
	path := dockerSave(t, build(t, "x"), "hello")
	img, err := s.Import(t.Context(), path, "")
	require.NoError(t, err)
	disks, err := filepath.Glob(filepath.Join(dir, "disks", "*"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(disks[0]))
	_, err = s.Lookup("hello")
	require.ErrorIs(t, err, persona.ErrNotFound)
	_, err = s.Import(t.Context(), path, "")
	require.NoError(t, err)
	diskHolds(t, s, img, "x")
}

func TestAFullDiskLeavesNothing(t *testing.T) {
	require.Zero(t, os.Geteuid(), "mounting a small file system needs root")
	big := build(t, "x", func(s *ociimage.Spec) { s.Layers[0][0].Content = bytes.Repeat([]byte("x"), 3<<20) })
	path := dockerSave(t, big, "hello")
	tests := map[string]struct{ size, path string }{
		"while the layers are read":        {"2m", path},
		"while the disk is written":        {"5m", path},
		"while the archive is unpacked":    {"1m", compress(t, path)},
		"with nothing left from the start": {"32k", path},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, unix.Mount("none", dir, "tmpfs", 0, "size="+tt.size))
			t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
			s := open(t, persona.Config{Dir: dir})
			_, err := s.Import(context.WithoutCancel(t.Context()), tt.path, "")
			require.ErrorIs(t, err, syscall.ENOSPC)
			requireClean(t, dir, 0)
			images, err := s.List()
			require.NoError(t, err)
			require.Empty(t, images)
		})
	}
}

func TestOpenRefusesWhatItCannotUnderstand(t *testing.T) {
	tests := map[string]persona.Config{
		"a mirror that is not a URL":   {Mirrors: map[string]string{"docker.io": "mirror"}},
		"a mirror over another scheme": {Mirrors: map[string]string{"docker.io": "ftp://mirror"}},
		"a platform with four parts":   {Platform: "a/b/c/d"},
	}
	for name, cfg := range tests {
		t.Run(name, func(t *testing.T) {
			cfg.Dir = t.TempDir()
			_, err := persona.Open(cfg)
			require.Error(t, err)
		})
	}
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "index.json"), []byte(`{"version":99}`), 0o600))
	_, err := persona.Open(persona.Config{Dir: dir})
	require.ErrorContains(t, err, "version 99")
}
