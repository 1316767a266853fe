package durable_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/durable"
)

// old returns the path of a file that has been there before.
func old(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	return path
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// names lists what is beside path.
func names(t *testing.T, path string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestAWriteReplacesContentAndMode(t *testing.T) {
	path := old(t)
	require.NoError(t, durable.Write(path, []byte("new"), 0o664))
	assert.Equal(t, "new", content(t, path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o664), info.Mode(), "whatever the umask is")
	assert.Equal(t, []string{"file"}, names(t, path))
}

func TestALinkIsReplacedAndNotFollowed(t *testing.T) {
	path := old(t)
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(path, link))
	require.NoError(t, durable.Write(link, []byte("new"), 0o600))
	assert.Equal(t, "new", content(t, link))
	assert.Equal(t, "old", content(t, path))
}

func TestAFileThatCanNotBeWholeIsNotReplaced(t *testing.T) {
	path := old(t)
	broken := errors.New("broken")
	err := durable.Replace(path, 0o600, func(f *os.File) error { _, _ = f.WriteString("half"); return broken })
	require.ErrorIs(t, err, broken)
	assert.Equal(t, "old", content(t, path))
	assert.Equal(t, []string{"file"}, names(t, path))
}

func TestAFileThatCanNotHaveItsNameLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dir", "file")
	require.NoError(t, os.MkdirAll(path, 0o700))
	require.Error(t, durable.Write(path, []byte("new"), 0o600))
	assert.DirExists(t, path)
	assert.Equal(t, []string{"file"}, names(t, path))
}

func TestCreateLeavesTheFileOfWhoWasFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, durable.Create(path, []byte("first"), 0o600))
	require.ErrorIs(t, durable.Create(path, []byte("second"), 0o600), fs.ErrExist)
	assert.Equal(t, "first", content(t, path))
	assert.Equal(t, []string{"file"}, names(t, path))
}

func TestSweepLeavesWhatIsBeingWritten(t *testing.T) {
	path := old(t)
	require.NoError(t, durable.Replace(path, 0o600, func(f *os.File) error {
		_, err := f.WriteString("new")
		return errors.Join(err, durable.Sweep(filepath.Dir(path)))
	}))
	assert.Equal(t, "new", content(t, path))
	require.ErrorIs(t, durable.Sweep(path+".d"), fs.ErrNotExist)
}
