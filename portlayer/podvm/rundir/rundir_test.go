package rundir_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer/podvm/rundir"
)

const uid = "7d8ae4a5-1f0b-4a47-8b4b-1f6f4f1f2a3b"

func open(t *testing.T, cfg rundir.Config) *rundir.Dir {
	t.Helper()
	s, err := rundir.Open(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Remove(uid)) }) // closes its files
	d, err := s.Dir(uid)
	require.NoError(t, err)
	return d
}

func TestRecordsOutliveTheProcess(t *testing.T) {
	root := filepath.Join(t.TempDir(), "pods")
	d := open(t, rundir.Config{Root: root})
	require.NoError(t, d.SaveSnapshot(&wire.Snapshot{BootID: "b1", Generation: 1}))
	require.NoError(t, d.SaveSnapshot(&wire.Snapshot{BootID: "b1", Generation: 2}))
	require.NoError(t, d.SaveVM(map[string]string{"name": "pod"}))
	require.NoError(t, d.AppendLog("app", 0, 0, []byte("line\n")))

	s, err := rundir.Open(rundir.Config{Root: root})
	require.NoError(t, err)
	uids, err := s.List()
	require.NoError(t, err)
	require.Equal(t, []string{uid}, uids)
	again, err := s.Dir(uid)
	require.NoError(t, err)
	snapshot, err := again.LoadSnapshot()
	require.NoError(t, err)
	assert.Equal(t, uint64(2), snapshot.Generation)
	var record map[string]string
	require.NoError(t, again.LoadVM(&record))
	assert.Equal(t, "pod", record["name"])
	assert.Equal(t, int64(5), again.LogEnd("app", 0))
}

func TestWhatACrashLeftHalfWrittenIsNotRead(t *testing.T) {
	root := filepath.Join(t.TempDir(), "pods")
	d := open(t, rundir.Config{Root: root})
	require.NoError(t, d.SaveSnapshot(&wire.Snapshot{Generation: 1}))
	half := filepath.Join(root, uid, ".tmp-1")
	require.NoError(t, os.WriteFile(half, []byte(`{"generation": 2`), 0o600))
	again := open(t, rundir.Config{Root: root})
	snapshot, err := again.LoadSnapshot()
	require.NoError(t, err)
	assert.Equal(t, uint64(1), snapshot.Generation)
	assert.NoFileExists(t, half)
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	root := filepath.Join(t.TempDir(), "pods")
	d := open(t, rundir.Config{Root: root})
	require.NoError(t, d.SaveSnapshot(&wire.Snapshot{}))
	require.NoError(t, d.AppendLog("app", 0, 0, []byte("line\n")))
	files := 0
	require.NoError(t, filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := e.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		} else {
			files++
		}
		assert.Equal(t, want, info.Mode().Perm(), path)
		return nil
	}))
	require.Equal(t, 3, files, "a snapshot, a log, and the format of all")
}

func TestWhatIsNotThere(t *testing.T) {
	d := open(t, rundir.Config{Root: t.TempDir()})
	_, err := d.LoadSnapshot()
	require.ErrorIs(t, err, rundir.ErrNotFound)
	require.ErrorIs(t, d.LoadVM(&struct{}{}), rundir.ErrNotFound)
	assert.Empty(t, d.Attempts("app"))
	assert.Zero(t, d.LogEnd("app", 0))
}

func TestADamagedSnapshotIsAnError(t *testing.T) {
	root := t.TempDir()
	d := open(t, rundir.Config{Root: root})
	require.NoError(t, d.SaveSnapshot(&wire.Snapshot{}))
	require.NoError(t, os.WriteFile(filepath.Join(root, uid, "snapshot.json"), []byte("{"), 0o600))
	_, err := d.LoadSnapshot()
	require.ErrorContains(t, err, "decode snapshot.json")
}

func TestNamesThatAreNoFileNamesAreRefused(t *testing.T) {
	root := t.TempDir()
	s, err := rundir.Open(rundir.Config{Root: root})
	require.NoError(t, err)
	for _, name := range []string{"", ".", "..", "a/b", "../x", ".hidden", "a\x00b"} {
		_, err := s.Dir(name)
		require.Error(t, err, name)
		require.NoError(t, s.Remove(name))
		d, err := s.Dir(uid)
		require.NoError(t, err)
		require.Error(t, d.AppendLog(name, 0, 0, []byte("x")), name)
	}
	entries, err := os.ReadDir(root)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.Equal(t, "format", entries[0].Name())
}

func TestRunDirectoriesOfAnotherFormatAreRefusedAndKept(t *testing.T) {
	tests := map[string]struct {
		format string // "" leaves the file out
		want   string
	}{
		"without a format":       {"", "has no format"},
		"with a newer format":    {"2", "has format 2"},
		"with an unknown format": {"two", "format"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			kept := filepath.Join(root, uid, "record.json")
			require.NoError(t, os.Mkdir(filepath.Dir(kept), 0o700))
			require.NoError(t, os.WriteFile(kept, []byte("{}"), 0o600))
			if tt.format != "" {
				require.NoError(t, os.WriteFile(filepath.Join(root, "format"), []byte(tt.format), 0o600))
			}
			_, err := rundir.Open(rundir.Config{Root: root})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, root)
			require.FileExists(t, kept)
		})
	}
}

func TestRemoveDeletesAndIsRepeatable(t *testing.T) {
	root := t.TempDir()
	s, err := rundir.Open(rundir.Config{Root: root})
	require.NoError(t, err)
	d, err := s.Dir(uid)
	require.NoError(t, err)
	require.NoError(t, d.SaveSnapshot(&wire.Snapshot{}))
	require.NoError(t, d.AppendLog("app", 0, 0, []byte("x\n")))
	require.NoError(t, s.Remove(uid))
	require.NoError(t, s.Remove(uid))
	require.ErrorIs(t, d.SaveSnapshot(&wire.Snapshot{}), rundir.ErrNotFound)
	require.ErrorIs(t, d.AppendLog("app", 0, 2, []byte("y\n")), rundir.ErrNotFound)
	_, err = os.Stat(filepath.Join(root, uid))
	require.ErrorIs(t, err, fs.ErrNotExist)
}
