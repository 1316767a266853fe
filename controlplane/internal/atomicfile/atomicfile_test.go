package atomicfile_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/controlplane/internal/atomicfile"
)

func TestWrite(t *testing.T) {
	tests := map[string]struct {
		prepare func(t *testing.T, path string)
		mode    fs.FileMode
	}{
		"a new file gets its mode":              {func(*testing.T, string) {}, 0o600},
		"an old file is replaced":               {put("old content that is longer", 0o600), 0o600},
		"a mode that was too wide is put right": {put("new", 0o666), 0o600},
		"a link is replaced and not followed":   {link, 0o600},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			tt.prepare(t, path)

			require.NoError(t, atomicfile.Write(path, []byte("new"), tt.mode))

			data, err := os.ReadFile(path)
			require.NoError(t, err)
			assert.Equal(t, "new", string(data))
			info, err := os.Lstat(path)
			require.NoError(t, err)
			assert.Equal(t, tt.mode, info.Mode())
			entries, err := os.ReadDir(filepath.Dir(path))
			require.NoError(t, err)
			for _, e := range entries {
				assert.NotContains(t, e.Name(), ".file.", "no temporary file is left")
			}
		})
	}
}

func TestWriteLeavesAFileThatIsAlreadySo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, atomicfile.Write(path, []byte("same"), 0o600))
	before, err := os.Stat(path)
	require.NoError(t, err)

	require.NoError(t, atomicfile.Write(path, []byte("same"), 0o600))

	after, err := os.Stat(path)
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after))
}

func TestWriteNamesThePathThatItCannotWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "file")
	require.ErrorContains(t, atomicfile.Write(path, nil, 0o600), path)
}

func put(data string, mode fs.FileMode) func(t *testing.T, path string) {
	return func(t *testing.T, path string) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(data), mode))
		require.NoError(t, os.Chmod(path, mode))
	}
}

func link(t *testing.T, path string) {
	t.Helper()
	target := filepath.Join(filepath.Dir(path), "target")
	put("untouched", 0o600)(t, target)
	require.NoError(t, os.Symlink(target, path))
	t.Cleanup(func() {
		data, err := os.ReadFile(target)
		require.NoError(t, err)
		require.Equal(t, "untouched", string(data))
	})
}
