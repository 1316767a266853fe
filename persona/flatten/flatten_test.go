package flatten_test

import (
	"archive/tar"
	"bytes"
	"fmt"
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
			g := &generator{rnd: rand.New(rand.NewPCG(seed, 1)), ref: ref} //nolint:gosec // repeatable on purpose
			var layers [][]entry
			for range 1 + g.rnd.IntN(5) {
				layers = append(layers, g.layer(t))
			}
			ref.finish(t)

			disk := flattenToDisk(t, layers...)
			check(t, disk)
			requireSameTree(t, describe(t, ref.dir), describe(t, mount(t, disk)))
		})
	}
}

// layerOf writes entries as a layer.
func layerOf(t testing.TB, entries []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		require.NoError(t, w.WriteHeader(&e.hdr))
		_, err := w.Write([]byte(e.data))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// flattenToDisk returns the path of the disk that the layers make.
func flattenToDisk(t testing.TB, layers ...[]entry) string {
	t.Helper()
	spool, disk := tempFile(t), tempFile(t)
	f := flatten.New(spool, flatten.Limits{})
	for _, l := range layers {
		require.NoError(t, f.AddLayer(t.Context(), bytes.NewReader(layerOf(t, l))))
	}
	require.NoError(t, f.WriteExt4(t.Context(), disk))
	return disk.Name()
}

func tempFile(t testing.TB) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	return f
}
