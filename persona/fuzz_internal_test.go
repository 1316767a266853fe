package persona

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/persona/flatten"
)

var fuzzLimits = Limits{Files: flatten.Limits{Bytes: 1 << 20, Entries: 100, MetadataBytes: 16 << 10}, Layers: 8, DocumentBytes: 64 << 10}.withDefaults()

// fuzzBlobs are the blobs of a registry by digest.
type fuzzBlobs map[v1.Hash][]byte

func (b fuzzBlobs) put(tb testing.TB, t types.MediaType, v any) v1.Descriptor {
	tb.Helper()
	raw, err := json.Marshal(v)
	require.NoError(tb, err)
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	require.NoError(tb, err)
	b[digest] = raw
	return v1.Descriptor{MediaType: t, Digest: digest, Size: size}
}

func (b fuzzBlobs) manifest(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return b.blob(ctx, d)
}

func (b fuzzBlobs) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	raw, ok := b[d.Digest]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(raw)), nil
}

// FuzzManifest reads anything as the manifest or index that a registry gives for a name. What it refers to is there.
func FuzzManifest(f *testing.F) {
	from := fuzzBlobs{}
	diffID := v1.Hash{Algorithm: "sha256", Hex: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
	config := from.put(f, types.OCIConfigJSON, v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers", DiffIDs: []v1.Hash{diffID}}})
	layer := v1.Descriptor{MediaType: types.OCILayer, Size: 12, Digest: diffID}
	image := from.put(f, types.OCIManifestSchema1, v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: config, Layers: []v1.Descriptor{layer}})
	image.Platform = &v1.Platform{OS: "linux", Architecture: "amd64"}
	index := from.put(f, types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{image}})
	from.put(f, types.OCIImageIndex, v1.IndexManifest{SchemaVersion: 2, Manifests: []v1.Descriptor{index, image}})
	for _, raw := range from {
		f.Add(raw)
	}
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{},{},null],"layers":[{}]}`))
	f.Add([]byte(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","size":-1,"digest":"sha256:00"}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, err := (&loader{from: from, platform: *image.Platform, limits: fuzzLimits}).load(t.Context(), raw)
		if err != nil {
			requireImageError(t, err)
			return
		}
		require.LessOrEqual(t, len(a.layers), fuzzLimits.Layers)
		require.Len(t, a.config.RootFS.DiffIDs, len(a.layers))
		for _, l := range a.layers {
			require.NotZero(t, l.digest)
			require.GreaterOrEqual(t, l.size, int64(0))
		}
		require.LessOrEqual(t, a.sizeBytes(), fuzzLimits.Files.Bytes+fuzzLimits.DocumentBytes)
	})
}

// FuzzConfig reads anything as the configuration of an image.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","architecture":"amd64","created":"2026-01-02T03:04:05Z","rootfs":{"type":"layers","diff_ids":[]},"history":[{}],
"config":{"Env":["A=b"],"Cmd":["sh"],"Entrypoint":["/x"],"ExposedPorts":{"80/tcp":{}},"Volumes":{"/d":{}},"Labels":{"a":"b"},"StopSignal":"TERM","User":"1:2"}}`), 0)
	f.Add([]byte(`{"config":{"Env":["\u0000"]},"rootfs":{"diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}`), 1)
	f.Fuzz(func(t *testing.T, raw []byte, layers int) {
		config, err := (&loader{platform: v1.Platform{OS: "linux", Architecture: "amd64"}}).parseConfig(raw, layers)
		if err != nil {
			requireImageError(t, err)
			return
		}
		img := configOf(&config.Config)
		for _, s := range append(append(img.Env, img.Cmd...), img.Entrypoint...) {
			require.NotContains(t, s, "\x00")
		}
	})
}

// FuzzArchive reads anything as an archive to import, up to the bytes of its layers.
func FuzzArchive(f *testing.F) {
	img, err := ociimage.Build(ociimage.Spec{Layers: [][]ociimage.File{{{Name: "a", Content: []byte("1")}}}})
	require.NoError(f, err)
	path := filepath.Join(f.TempDir(), "image.tar")
	require.NoError(f, ociimage.WriteDockerSave(img, "hello:latest", path))
	saved, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(saved)
	f.Add(saved[:len(saved)/2])
	layout := f.TempDir()
	require.NoError(f, ociimage.WriteLayout(img, "hello:latest", layout))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	require.NoError(f, w.AddFS(os.DirFS(layout)))
	require.NoError(f, w.Close())
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, raw []byte) {
		from, err := indexArchive(t.Context(), bytes.NewReader(raw), fuzzLimits.Files)
		if err != nil {
			requireImageError(t, err)
			return
		}
		a, _, err := (&loader{platform: v1.Platform{OS: "linux", Architecture: "amd64"}, limits: fuzzLimits}).loadFiles(t.Context(), from, nil)
		if err != nil {
			requireImageError(t, err)
			return
		}
		fl := flatten.New(discard{}, fuzzLimits.Files)
		for _, l := range a.layers {
			if err := readLayer(t.Context(), l, func(int) {}, fl.AddLayer); err != nil {
				requireImageError(t, err)
				return
			}
		}
	})
}

// FuzzStoreIndex reads anything as the store's list of images, and looks for some.
func FuzzStoreIndex(f *testing.F) {
	f.Add([]byte(`{"version":1,"images":[{"names":["hello:latest"],"repoDigests":["hello@sha256:00"],"digest":"sha256:00","id":"sha256:11"}]}`))
	f.Add([]byte(`{"version":1,"images":[{"names":["hello"],"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "index.json")
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		images, err := readIndex(path)
		if err != nil {
			require.ErrorContains(t, err, path)
			return
		}
		for _, ref := range []string{"hello", "hello@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "111111111111"} {
			if _, err := find(images, ref); err != nil {
				require.ErrorIs(t, err, ErrNotFound)
			}
		}
	})
}

// requireImageError fails the test unless err says what kind of fault the image has.
func requireImageError(t *testing.T, err error) {
	t.Helper()
	for _, kind := range []error{ErrInvalidImage, ErrTooLarge, ErrPlatform, ErrDigestMismatch, ErrNotFound, ErrInvalidName, fs.ErrNotExist} {
		if errors.Is(err, kind) {
			return
		}
	}
	require.NoError(t, err)
}

// discard is a spool that nobody reads.
type discard struct{}

func (discard) Write(p []byte) (int, error)           { return len(p), nil }
func (discard) ReadAt(p []byte, _ int64) (int, error) { return 0, io.EOF }
