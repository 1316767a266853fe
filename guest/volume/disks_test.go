package volume_test

import (
	"context"
	"errors"
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

// disks has a disk vol-1 with a file that another pod has written.
type disks struct {
	*volume.Set
	dir    string // of vol-1
	file   string
	mounts int
	group  int64
}

func newDisks(t *testing.T, onMismatch bool) *disks {
	t.Helper()
	d := &disks{group: int64(os.Getgid())}
	if os.Getuid() == 0 {
		d.group = 4242
	}
	root := t.TempDir()
	d.dir = filepath.Join(root, "vol-1@3")
	d.file = filepath.Join(d.dir, "sub", "file")
	d.Set = volume.New(volume.Config{
		Disks: root, Group: &d.group, GroupOnRootMismatch: onMismatch,
		MountDisk: func(_ context.Context, target string, v wire.Volume) error {
			d.mounts++
			assert.Equal(t, "vol-1@3", v.Disk)
			assert.Equal(t, d.dir, target)
			return errors.Join(os.MkdirAll(filepath.Dir(d.file), 0o700), os.WriteFile(d.file, nil, 0o600))
		},
	})
	return d
}

func (d *disks) owned(t *testing.T, path string) bool {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.Mode()&0o060 == 0o060 && int64(info.Sys().(*syscall.Stat_t).Gid) == d.group
}

func diskVolume(name string, readOnly bool) wire.Volume {
	return wire.Volume{Name: name, Kind: wire.VolumeDisk, Disk: "vol-1@3", ReadOnly: readOnly}
}

func TestADiskIsMountedOnceForAllItsVolumes(t *testing.T) {
	d := newDisks(t, false)
	require.NoError(t, d.Add(t.Context(), diskVolume("a", false)))
	require.NoError(t, d.Add(t.Context(), diskVolume("b", false)))
	require.Equal(t, 1, d.mounts)
	require.Equal(t, source(t, d.Set, wire.Mount{Volume: "a"}), source(t, d.Set, wire.Mount{Volume: "b"}))
	require.Equal(t, d.file, source(t, d.Set, wire.Mount{Volume: "a", SubPath: "sub/file"}))
}

func TestADiskBelongsToTheGroup(t *testing.T) {
	d := newDisks(t, false)
	require.NoError(t, d.Add(t.Context(), diskVolume("a", false)))
	assert.True(t, d.owned(t, d.dir))
	assert.True(t, d.owned(t, d.file))
	info, err := os.Stat(d.dir)
	require.NoError(t, err)
	assert.NotZero(t, info.Mode()&fs.ModeSetgid)
}

func TestADiskThatIsReadOnlyKeepsItsOwners(t *testing.T) {
	d := newDisks(t, false)
	require.NoError(t, d.Add(t.Context(), diskVolume("a", true)))
	assert.False(t, d.owned(t, d.file))
}

func TestOnlyADiskWhoseTopIsAnothersIsOwnedAnew(t *testing.T) {
	d := newDisks(t, true)
	require.NoError(t, d.Add(t.Context(), diskVolume("a", false)))
	require.True(t, d.owned(t, d.file), "its top directory was another's")
	require.NoError(t, os.Chmod(d.file, 0o600))
	require.NoError(t, d.Add(t.Context(), diskVolume("b", false)))
	require.False(t, d.owned(t, d.file), "its top directory is the group's")

	always := newDisks(t, false)
	require.NoError(t, always.Add(t.Context(), diskVolume("a", false)))
	require.NoError(t, os.Chmod(always.file, 0o600))
	require.NoError(t, always.Add(t.Context(), diskVolume("b", false)))
	require.True(t, always.owned(t, always.file))
}

func TestADiskThatIsNotMountedIsTriedAgain(t *testing.T) {
	calls, fail := 0, errors.New("no such disk")
	s := volume.New(volume.Config{Disks: t.TempDir(), MountDisk: func(context.Context, string, wire.Volume) error {
		calls++
		return fail
	}})
	require.ErrorIs(t, s.Add(t.Context(), diskVolume("a", false)), fail)
	fail = nil
	require.NoError(t, s.Add(t.Context(), diskVolume("a", false)))
	require.Equal(t, 2, calls)
	for _, disk := range []string{"", "..", "a/b"} {
		v := diskVolume("c", false)
		v.Disk = disk
		require.ErrorIs(t, s.Add(t.Context(), v), volume.ErrInvalid, disk)
	}
}

func TestADiskAsADevice(t *testing.T) {
	s := volume.New(volume.Config{Memory: t.TempDir(), FindDisk: func(_ context.Context, serial string) (string, error) {
		return "/dev/" + serial, nil
	}})
	v := wire.Volume{Name: "raw", Kind: wire.VolumeDevice, Disk: "vol-1", ReadOnly: true}
	require.NoError(t, s.Add(t.Context(), v))
	path, readOnly, err := s.Device("raw")
	require.NoError(t, err)
	assert.Equal(t, "/dev/vol-1", path)
	assert.True(t, readOnly)
	_, err = s.Source(wire.Mount{Volume: "raw"})
	require.ErrorIs(t, err, volume.ErrNotFound, "it can't be mounted")
	_, _, err = s.Device("other")
	require.ErrorIs(t, err, volume.ErrNotFound)
}
