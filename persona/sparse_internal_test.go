package persona

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func newSparse(t *testing.T) *sparseFile {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return &sparseFile{file: f}
}

func TestASparseFileHoldsWhatWasWritten(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		s := newSparse(t)
		var want []byte
		for range 1 + rnd.IntN(30) {
			p := make([]byte, rnd.IntN(5*holeBytes))
			if rnd.IntN(2) == 0 {
				copy(p[len(p)/2:], bytes.Repeat([]byte("x"), len(p)))
			}
			at := rnd.IntN(len(want) + 1)
			if rnd.IntN(2) == 0 {
				at = len(want)
			}
			_, err := s.Seek(int64(at), io.SeekStart)
			require.NoError(t, err)
			n, err := s.Write(p)
			require.NoError(t, err)
			require.Len(t, p, n)
			want = append(want, make([]byte, max(0, at+n-len(want)))...)
			copy(want[at:], p)
			got, err := io.ReadAll(io.NewSectionReader(s, 0, int64(len(want))))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, got))
		}
		require.NoError(t, s.settle())
		got, err := os.ReadFile(s.file.Name())
		require.NoError(t, err)
		require.True(t, bytes.Equal(want, got))
	}
}

func TestZerosTakeNoRoom(t *testing.T) {
	s := newSparse(t)
	_, err := s.Write(append([]byte("begin"), make([]byte, 16<<20)...))
	require.NoError(t, err)
	_, err = s.Write([]byte("end"))
	require.NoError(t, err)
	var st unix.Stat_t
	require.NoError(t, unix.Stat(s.file.Name(), &st))
	require.EqualValues(t, 16<<20+8, st.Size)
	require.LessOrEqual(t, st.Blocks*512, int64(4*holeBytes))
}
