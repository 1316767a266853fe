package durable

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/filelock"
)

func TestBeforeItHasItsNameAFileIsWholeAndNobodyElses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o600))
	crash := errors.New("the host stops here")
	place := func(temp, path string) error {
		b, err := os.ReadFile(temp)
		require.NoError(t, err)
		assert.Equal(t, "new", string(b))
		info, err := os.Stat(temp)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o640), info.Mode())
		assert.True(t, Temporary(filepath.Base(temp)))
		held, err := filelock.Held(temp)
		require.NoError(t, err)
		assert.True(t, held)
		b, err = os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, "old", string(b))
		return crash
	}
	require.ErrorIs(t, put(path, 0o640, func(f *os.File) error { _, err := f.WriteString("new"); return err }, place), crash)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "old", string(b))
}
