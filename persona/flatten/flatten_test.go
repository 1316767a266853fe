package flatten_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

func TestRandomLayersLookAsANaiveExtractorLeavesThem(t *testing.T) {
	for seed := range uint64(120) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			ref := newReference(t)
			g := &generator{rnd: rand.New(rand.NewPCG(seed, 1)), ref: ref}
			var layers [][]entry
			for range 1 + g.rnd.IntN(5) {
				layers = append(layers, g.layer(t))
			}
			ref.finish(t)

			disk := flattenToDisk(t, layers...)
			check(t, disk)
			requireSameTree(t, describe(t, ref.dir), describeDisk(t, disk))
		})
	}
}

// layerOf writes entries as a layer.
func layerOf(tb testing.TB, entries []entry) []byte {
	tb.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		err := w.WriteHeader(&e.hdr)
		if err == nil {
			_, err = io.WriteString(w, e.data)
		}
		if err != nil { // asking testify every time would take most of the time of a large layer
			require.NoError(tb, err)
		}
	}
	require.NoError(tb, w.Close())
	return b.Bytes()
}

// flattenToDisk returns the path of the disk that the layers make.
func flattenToDisk(tb testing.TB, layers ...[]entry) string {
	tb.Helper()
	spool, disk := tempFile(tb), tempFile(tb)
	f := flatten.New(spool, flatten.Limits{})
	for _, l := range layers {
		require.NoError(tb, f.AddLayer(tb.Context(), "test", bytes.NewReader(layerOf(tb, l))))
	}
	require.NoError(tb, f.WriteExt4(tb.Context(), disk))
	return disk.Name()
}

func tempFile(tb testing.TB) *os.File {
	tb.Helper()
	f, err := os.Create(filepath.Join(tb.TempDir(), "file"))
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, f.Close()) })
	return f
}
