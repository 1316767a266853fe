package persona_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/persona/flatten"
)

// forgery is an OCI layout that is made by hand, to lie in.
type forgery struct {
	dir string
	// manifest and config are what is written; edit may change them.
	manifest v1.Manifest
	config   v1.ConfigFile
}

func newForgery(t *testing.T) *forgery {
	t.Helper()
	f := &forgery{dir: t.TempDir()}
	require.NoError(t, os.MkdirAll(filepath.Join(f.dir, "blobs", "sha256"), 0o700))
	f.manifest = v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	f.config = v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}
	return f
}

func (f *forgery) blob(t *testing.T, mediaType types.MediaType, content []byte) v1.Descriptor {
	t.Helper()
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(f.dir, "blobs", "sha256", digest.Hex), content, 0o600))
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}
}

func (f *forgery) addLayer(t *testing.T, unpacked, packed []byte) {
	t.Helper()
	diffID, _, err := v1.SHA256(bytes.NewReader(unpacked))
	require.NoError(t, err)
	f.config.RootFS.DiffIDs = append(f.config.RootFS.DiffIDs, diffID)
	f.manifest.Layers = append(f.manifest.Layers, f.blob(t, types.OCILayer, packed))
}

// finish writes what is left, and changes the manifest with edit before that.
func (f *forgery) finish(t *testing.T, edit func(m *v1.Manifest)) {
	t.Helper()
	f.manifest.Config = f.blob(t, types.OCIConfigJSON, marshal(t, f.config))
	if edit != nil {
		edit(&f.manifest)
	}
	f.writeIndex(t, f.blob(t, types.OCIManifestSchema1, marshal(t, f.manifest)))
}

func (f *forgery) writeIndex(t *testing.T, manifests ...v1.Descriptor) {
	t.Helper()
	index := marshal(t, v1.IndexManifest{SchemaVersion: 2, Manifests: manifests})
	require.NoError(t, os.WriteFile(filepath.Join(f.dir, "index.json"), index, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(f.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o600))
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

// archiveOf writes a tar archive with files of these names, of one byte each.
func archiveOf(t *testing.T, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, name := range names {
		require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: 1, Mode: 0o644}))
		_, err := w.Write([]byte("1"))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

// zeros is a layer with one file of so many zeros.
func zeros(t *testing.T, n int64) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "zeros", Size: n, Mode: 0o644}))
	_, err := w.Write(make([]byte, n))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func gzipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

func zstandard(t *testing.T, content []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	return w.EncodeAll(content, nil)
}

func TestHostileImagesAreRefusedAndLeaveNothing(t *testing.T) {
	small := persona.Limits{Files: flatten.Limits{Bytes: 256 << 10, Entries: 100, Depth: 10, MetadataBytes: 4096}, Layers: 3, DocumentBytes: 4096}
	plain := func(names ...string) func(*testing.T, *forgery) {
		return func(t *testing.T, f *forgery) {
			layer := archiveOf(t, names...)
			f.addLayer(t, layer, layer)
			f.finish(t, nil)
		}
	}
	lying := func(edit func(m *v1.Manifest)) func(*testing.T, *forgery) {
		return func(t *testing.T, f *forgery) {
			layer := archiveOf(t, "a")
			f.addLayer(t, layer, layer)
			f.finish(t, edit)
		}
	}
	tests := map[string]struct {
		forge func(*testing.T, *forgery)
		kind  error
		// want is in the error, with the digest of the only layer for LAYER.
		want string
	}{
		"a name that climbs":           {plain("etc/good", "../../etc/passwd"), persona.ErrInvalidImage, `layer LAYER: entry "../../etc/passwd"`},
		"a name of 100,000 bytes":      {plain(strings.Repeat("x", 100_000)), persona.ErrInvalidImage, `layer LAYER: entry "xxx`},
		"more files than allowed":      {plain(manyNames(101)...), persona.ErrTooLarge, `layer LAYER: entry "file-100"`},
		"longer names than allowed":    {plain(strings.Repeat(strings.Repeat("x", 240)+"/", 9) + "x"), persona.ErrTooLarge, `layer LAYER: entry "xxx`},
		"deeper folders than allowed":  {plain(strings.Repeat("d/", 10) + "x"), persona.ErrTooLarge, `layer LAYER: entry "d/d/d/d/d/d/d/d/d/d/x"`},
		"a layer larger than it says":  {lying(func(m *v1.Manifest) { m.Layers[0].Size-- }), persona.ErrDigestMismatch, "LAYER"},
		"a layer smaller than it says": {lying(func(m *v1.Manifest) { m.Layers[0].Size++ }), persona.ErrDigestMismatch, "blob LAYER is 1 bytes shorter"},
		"a layer of less than nothing": {lying(func(m *v1.Manifest) { m.Layers[0].Size = -1 }), persona.ErrInvalidImage, "layer LAYER of -1 bytes"},
		"a layer that says it is huge": {lying(func(m *v1.Manifest) { m.Layers[0].Size = 1 << 62 }), persona.ErrTooLarge, "262144 bytes"},
		"a layer without a digest":     {lying(func(m *v1.Manifest) { m.Layers[0].Digest = v1.Hash{} }), persona.ErrInvalidImage, "layers, number 1"},
		"a configuration that lies":    {lying(func(m *v1.Manifest) { m.Config.Size++ }), persona.ErrDigestMismatch, "configuration"},
		"a configuration too large":    {lying(func(m *v1.Manifest) { m.Config.Size = 4097 }), persona.ErrTooLarge, "configuration of 4097 bytes"},
		"too many layers":              {lying(func(m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[0], m.Layers[0], m.Layers[0]) }), persona.ErrTooLarge, "4 layers, the most is 3"},
		"a bomb of gzip": {func(t *testing.T, f *forgery) {
			f.addLayer(t, zeros(t, 1<<20), gzipped(t, zeros(t, 1<<20)))
			f.finish(t, nil)
		}, persona.ErrTooLarge, `layer LAYER: entry "zeros"`},
		"a bomb of zstd": {func(t *testing.T, f *forgery) {
			f.addLayer(t, zeros(t, 1<<20), zstandard(t, zeros(t, 1<<20)))
			f.finish(t, nil)
		}, persona.ErrTooLarge, `layer LAYER: entry "zeros"`},
		"a bomb behind the archive's end": {func(t *testing.T, f *forgery) {
			layer := append(archiveOf(t, "a"), make([]byte, 1<<20)...)
			f.addLayer(t, layer, gzipped(t, layer))
			f.finish(t, nil)
		}, persona.ErrTooLarge, "layer LAYER: "},
		"a layer that is damaged": {func(t *testing.T, f *forgery) {
			packed := gzipped(t, archiveOf(t, "a"))
			packed[len(packed)-20] ^= 1
			f.addLayer(t, archiveOf(t, "a"), packed)
			f.finish(t, nil)
		}, persona.ErrInvalidImage, "layer LAYER: "},
		"a layer that is not an archive": {func(t *testing.T, f *forgery) {
			f.addLayer(t, bytes.Repeat([]byte("?"), 600), bytes.Repeat([]byte("?"), 600))
			f.finish(t, nil)
		}, persona.ErrInvalidImage, "layer LAYER: after the beginning"},
		"an environment with a zero byte": {func(t *testing.T, f *forgery) {
			f.config.Config.Env = []string{"A=\x00"}
			f.finish(t, nil)
		}, persona.ErrInvalidImage, "zero byte in Env"},
		"an index of itself": {func(t *testing.T, f *forgery) {
			at := f.blob(t, types.OCIImageIndex, marshal(t, v1.IndexManifest{SchemaVersion: 2}))
			for range 5 {
				at = f.blob(t, types.OCIImageIndex, marshal(t, v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{at}}))
			}
			f.writeIndex(t, at)
		}, persona.ErrInvalidImage, "indexes within indexes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f := newForgery(t)
			tt.forge(t, f)
			dir := t.TempDir()
			_, err := open(t, persona.Config{Dir: dir, Limits: small}).Import(t.Context(), f.dir, "evil:1")
			require.ErrorIs(t, err, tt.kind)
			want := tt.want
			if len(f.manifest.Layers) > 0 {
				want = strings.ReplaceAll(want, "LAYER", f.manifest.Layers[0].Digest.String())
			}
			require.ErrorContains(t, err, want)
			require.ErrorContains(t, err, `"evil:1"`)
			require.Less(t, len(err.Error()), 1024)
			requireClean(t, dir, 0)
		})
	}
}

func manyNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("file-%d", i)
	}
	return names
}

func TestSkippableFramesMayComeFirst(t *testing.T) {
	f := newForgery(t)
	layer := archiveOf(t, "a")
	f.addLayer(t, layer, append([]byte{0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4}, zstandard(t, layer)...))
	f.finish(t, nil)
	_, err := open(t, persona.Config{}).Import(t.Context(), f.dir, "parallel:1")
	require.NoError(t, err)
}
