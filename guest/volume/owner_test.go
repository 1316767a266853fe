package volume_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/volume"
	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestVolumesBelongToTheGroup(t *testing.T) {
	group := int64(os.Getgid())
	if os.Getuid() == 0 {
		group = 4242
	}
	dir := t.TempDir()
	s := volume.New(volume.Config{
		Scratch: filepath.Join(dir, "scratch"), Memory: filepath.Join(dir, "memory"), Group: &group,
		MountMemory: func(string, int64) error { return nil },
	})
	for _, kind := range []wire.VolumeKind{wire.VolumeScratch, wire.VolumeMemory, wire.VolumeFiles} {
		require.NoError(t, s.Add(t.Context(), wire.Volume{Name: string(kind), Kind: kind}))
	}
	require.NoError(t, s.Put(wire.Files{Volume: "files", Files: []wire.File{
		{Path: "key", Mode: 0o400}, {Path: "dir/open", Mode: 0o644},
	}}))
	for name, want := range map[string]fs.FileMode{
		"scratch":         0o777 | fs.ModeSetgid,
		"memory":          0o777 | fs.ModeSetgid,
		"files":           0o755 | fs.ModeSetgid,
		"files/key":       0o440,
		"files/dir":       0o755 | fs.ModeSetgid,
		"files/dir/open":  0o644,
		"scratch/new/sub": 0o777 | fs.ModeSetgid,
	} {
		path := filepath.Join(dir, "memory", name)
		if rel, err := filepath.Rel("scratch", name); err == nil && filepath.IsLocal(rel) {
			if rel != "." {
				source(t, s, wire.Mount{Volume: "scratch", SubPath: rel})
			}
			path = filepath.Join(dir, "scratch", name)
		}
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, want, info.Mode()&(fs.ModePerm|fs.ModeSetgid), name)
		assert.Equal(t, uint32(group), info.Sys().(*syscall.Stat_t).Gid, name)
	}
}

func TestANewSubPathHasTheModeOfItsVolume(t *testing.T) {
	s, _ := set(t)
	info, err := os.Stat(source(t, s, wire.Mount{Volume: "scratch", SubPath: "a/b"}))
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o777), info.Mode().Perm(), "whoever may write to the volume may write there")
}

func TestAnEmptyDirHasTheModeThatItsPodGivesIt(t *testing.T) {
	tests := map[string]struct {
		mode *uint32
		want fs.FileMode
	}{
		"anybody's, without one":         {nil, 0o777},
		"the owner's alone":              {new(uint32(0o700)), 0o700},
		"anybody's, each file its owner": {new(uint32(0o1777)), 0o777 | fs.ModeSticky},
		"nobody's":                       {new(uint32(0)), 0},
	}
	for name, tt := range tests {
		for _, kind := range []wire.VolumeKind{wire.VolumeScratch, wire.VolumeMemory} {
			t.Run(name+", "+string(kind), func(t *testing.T) {
				s, _ := set(t)
				v := wire.Volume{Name: "own", Kind: kind, Mode: tt.mode}
				require.NoError(t, s.Add(t.Context(), v))
				info, err := os.Stat(source(t, s, wire.Mount{Volume: "own"}))
				require.NoError(t, err)
				require.Equal(t, tt.want, info.Mode()&(fs.ModePerm|fs.ModeSticky))
				if tt.mode != nil {
					v.Mode = new(*tt.mode)
				}
				require.NoError(t, s.Add(t.Context(), v), "the same volume again")
			})
		}
	}
}

func TestAFileBelongsToItsUser(t *testing.T) {
	user := int64(os.Getuid())
	if user == 0 {
		user = 4243
	}
	s, _ := set(t)
	require.NoError(t, s.Put(wire.Files{Volume: "files", Files: []wire.File{
		{Path: "own", Mode: 0o400, User: &user}, {Path: "dir/roots", Mode: 0o400},
	}}))
	for name, want := range map[string]int64{"own": user, "dir/roots": int64(os.Getuid())} {
		info, err := os.Stat(source(t, s, wire.Mount{Volume: "files", SubPath: name}))
		require.NoError(t, err)
		assert.Equal(t, uint32(want), info.Sys().(*syscall.Stat_t).Uid, name)
		assert.Equal(t, fs.FileMode(0o400), info.Mode().Perm(), name)
	}
}
