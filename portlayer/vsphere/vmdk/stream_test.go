package vmdk_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer/vsphere/vmdk"
)

const grain = 64 << 10

// content has noise, zeros, and an end that is not a grain's.
func content(bytesLong int) []byte {
	b := make([]byte, bytesLong)
	noise := rand.NewChaCha8([32]byte{1})
	for at := 0; at < len(b); at += 5 * grain {
		_, _ = noise.Read(b[at:min(at+grain+100, len(b))]) // it never fails
	}
	return b
}

// TestQEMUReadsTheDisk holds the format against another program that knows it.
func TestQEMUReadsTheDisk(t *testing.T) {
	tests := map[string]int{
		"one byte":                    1,
		"one grain":                   grain,
		"an end within a sector":      3*grain + 77,
		"more than a table of grains": 70<<20 + 4096,
	}
	for name, size := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			disk, raw := filepath.Join(dir, "disk.vmdk"), filepath.Join(dir, "disk.raw")
			f, err := os.Create(disk)
			require.NoError(t, err)
			want := content(size)
			require.NoError(t, vmdk.Write(f, bytes.NewReader(want), int64(size)))
			require.NoError(t, f.Close())
			out, err := exec.CommandContext(t.Context(), "qemu-img", "convert", "-f", "vmdk", "-O", "raw", disk, raw).CombinedOutput()
			require.NoError(t, err, "%s", out)
			got, err := os.ReadFile(raw)
			require.NoError(t, err)
			require.Len(t, got, int(vmdk.Capacity(int64(size))))
			assert.True(t, bytes.Equal(want, got[:size]), "the content")
			assert.Zero(t, bytes.Count(got[size:], []byte{0})-len(got[size:]), "what is behind it")
		})
	}
}

func TestZerosTakeNoRoom(t *testing.T) {
	var b bytes.Buffer
	const size = 1 << 30
	require.NoError(t, vmdk.Write(&b, io.LimitReader(zeroReader{}, size), size))
	assert.Less(t, b.Len(), 128<<10)
}

type zeroReader struct{}

func (zeroReader) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func TestAContentOfAnotherLengthIsRefused(t *testing.T) {
	require.ErrorContains(t, vmdk.Write(io.Discard, bytes.NewReader(content(10)), 11), "ends after 10 of 11 bytes")
	require.ErrorContains(t, vmdk.Write(io.Discard, bytes.NewReader(content(12)), 11), "goes on after 11 bytes")
	require.Error(t, vmdk.Write(io.Discard, bytes.NewReader(nil), 0))
	cause := errors.New("source broke")
	require.ErrorIs(t, vmdk.Write(io.Discard, iotest.ErrReader(cause), 11), cause)
}

// broken takes so many bytes.
type broken struct{ left int }

func (b *broken) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errors.New("no more")
	}
	return len(p), nil
}

func TestABrokenWriterIsReported(t *testing.T) {
	require.ErrorContains(t, vmdk.Write(&broken{left: 1 << 20}, bytes.NewReader(content(70<<20)), 70<<20), "no more")
}
