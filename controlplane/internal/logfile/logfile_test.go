package logfile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/klog/v2"

	"github.com/virtual-kubelet/vic/controlplane/internal/logfile"
)

func open(t *testing.T, path string, limit int64) *logfile.File {
	t.Helper()
	f, err := logfile.Open(path, limit)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(data)
}

func TestANewProcessBeginsANewLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	require.NoError(t, os.WriteFile(path, []byte("before"), 0o600))

	_, err := open(t, path, 100).Write([]byte("now"))

	require.NoError(t, err)
	assert.Equal(t, "now", read(t, path))
	assert.Equal(t, "before", read(t, path+".1"))
}

func TestTheLogIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := open(t, path, 100)
	for range 1000 {
		n, err := f.Write(bytes.Repeat([]byte("x"), 30))
		require.NoError(t, err)
		require.Equal(t, 30, n)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 2)
	assert.LessOrEqual(t, len(read(t, path)), 100)
	assert.LessOrEqual(t, len(read(t, path+".1")), 100)
}

func TestTheCauseOfTheEndIsRemembered(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "log"), 1000)
	assert.Empty(t, f.Fatal())
	for _, line := range []string{
		"F1121 09:00:00.000000       1 main.go:10] the cause\ngoroutine 1 [running]:\n",
		"I1121 09:00:00.000000       1 main.go:11] something else\n",
	} {
		_, err := f.Write([]byte(line))
		require.NoError(t, err)
	}
	assert.Equal(t, "the cause", f.Fatal())
}

func TestCaptureTakesKlog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var cause string
	logfile.Capture(open(t, path, 10000), func(c string) { cause = c })

	klog.InfoS("Something happened", "key", "value")
	klog.Fatalf("it broke: %s", "here")

	assert.Contains(t, read(t, path), `"Something happened" key="value"`)
	assert.Equal(t, "it broke: here", cause)
}

func TestStandardErrorGoesToTheLogAndComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f := open(t, path, 20)
	stderr, err := logfile.TakeStderr(f)
	require.NoError(t, err)
	defer func() { require.NoError(t, stderr.GiveBack()) }()

	_, err = os.Stderr.WriteString("stray before")
	require.NoError(t, err)
	_, err = f.Write([]byte("a line that fills it"))
	require.NoError(t, err)
	_, err = f.Write([]byte("the next, in a new file"))
	require.NoError(t, err)
	_, err = os.Stderr.WriteString(" stray after")
	require.NoError(t, err)

	assert.Contains(t, read(t, path+".1"), "stray before")
	assert.Contains(t, read(t, path), "the next, in a new file stray after")
}
