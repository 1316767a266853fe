package persona

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxIndexDepth is how many indexes may lie between a name and its manifest.
const maxIndexDepth = 4

// blobs is where an image's parts come from. It checks nothing.
type blobs interface {
	// manifest opens a manifest or an index.
	manifest(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// blob opens a configuration or a layer.
	blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
}

// artifact is an image whose manifest and configuration have been read and checked, and whose layers have not.
type artifact struct {
	digest v1.Hash
	// id is the configuration's digest.
	id     v1.Hash
	config *configFile
	layers []layer
	// configBytes is the configuration's size.
	configBytes int64
}

// layer is one layer of an artifact.
type layer struct {
	// diffID is the digest of the unpacked layer.
	diffID v1.Hash
	// digest is that of the blob; an archive of docker save has none.
	digest v1.Hash
	size   int64
	open   func(ctx context.Context) (io.ReadCloser, error)
	// remote is set where open asks a registry, fetched where what it brought was copied here and counted.
	remote, fetched bool
}

// name is what errors call l: by the digest in the manifest, where there is one.
func (l layer) name() string {
	if l.digest == (v1.Hash{}) {
		return l.diffID.String()
	}
	return l.digest.String()
}

// document is a manifest or an index: what media type it claims decides less than what it holds.
type document struct {
	SchemaVersion int64             `json:"schemaVersion"`
	Config        *v1.Descriptor    `json:"config"`
	Layers        []json.RawMessage `json:"layers"`
	Manifests     []json.RawMessage `json:"manifests"`
}

// loader finds the manifest for a platform and reads what belongs to it.
type loader struct {
	from     blobs
	platform v1.Platform
	limits   Limits
	// remote is set where from is a registry.
	remote bool
}

// load reads the image that raw describes, which is a manifest or an index.
func (l *loader) load(ctx context.Context, raw []byte) (*artifact, error) {
	return l.loadAt(ctx, raw, 0)
}

func (l *loader) loadAt(ctx context.Context, raw []byte, depth int) (*artifact, error) {
	if err := l.limits.checkDocument("manifest", int64(len(raw))); err != nil {
		return nil, err
	}
	var doc document
	if err := decode("manifest", raw, &doc); err != nil {
		return nil, err
	}
	switch {
	case doc.SchemaVersion != 2:
		return nil, fmt.Errorf("%w: manifest of schema version %d", ErrInvalidImage, doc.SchemaVersion)
	case doc.Config != nil:
		return l.loadManifest(ctx, raw, doc)
	case depth >= maxIndexDepth:
		return nil, fmt.Errorf("%w: indexes within indexes", ErrInvalidImage)
	}
	manifests, err := decodeEach[v1.Descriptor]("manifests", doc.Manifests, maxDescriptors)
	if err != nil {
		return nil, err
	}
	desc, err := l.choose(manifests)
	if err != nil {
		return nil, err
	}
	if raw, err = l.document(ctx, "manifest", desc, l.from.manifest); err != nil {
		return nil, err
	}
	return l.loadAt(ctx, raw, depth+1)
}

// choose returns the entry of an index that fits the platform. An entry that names none may fit.
func (l *loader) choose(all []v1.Descriptor) (v1.Descriptor, error) {
	var found []string
	for _, d := range all {
		if d.Platform == nil || !d.MediaType.IsImage() && !d.MediaType.IsIndex() {
			continue
		}
		if d.Platform.OS == l.platform.OS && d.Platform.Architecture == l.platform.Architecture {
			return d, nil
		}
		found = append(found, platformName(d.Platform.OS, d.Platform.Architecture))
	}
	unknown := slices.DeleteFunc(slices.Clone(all), func(d v1.Descriptor) bool {
		return d.Platform != nil || !d.MediaType.IsImage() && !d.MediaType.IsIndex()
	})
	if len(unknown) > 1 {
		return v1.Descriptor{}, fmt.Errorf("%w: %d manifests that name no platform", ErrInvalidImage, len(unknown))
	}
	if len(unknown) == 1 {
		return unknown[0], nil
	}
	slices.Sort(found)
	return v1.Descriptor{}, &PlatformError{Want: l.want(), Found: slices.Compact(found)}
}

func (l *loader) want() string { return platformName(l.platform.OS, l.platform.Architecture) }

func platformName(os, arch string) string { return os + "/" + arch }

// document reads and checks a small part.
func (l *loader) document(
	ctx context.Context, what string, d v1.Descriptor, open func(context.Context, v1.Descriptor) (io.ReadCloser, error),
) (_ []byte, err error) {
	if err := l.limits.checkDocument(what, d.Size); err != nil {
		return nil, err
	}
	r, err := open(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("open %s %s: %w", what, d.Digest, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	b, err := readDocument(what, r)
	if err != nil {
		return nil, err
	}
	if int64(len(b)) != d.Size {
		return nil, fmt.Errorf("%w: %s %s has %d bytes and should have %d", ErrDigestMismatch, what, d.Digest, len(b), d.Size)
	}
	return checkedBytes(what, b, d.Digest)
}

func (l *loader) loadManifest(ctx context.Context, raw []byte, doc document) (*artifact, error) {
	if !doc.Config.MediaType.IsConfig() {
		return nil, fmt.Errorf("%w: it is not a container image but %s", ErrInvalidImage, doc.Config.MediaType)
	}
	layers, err := decodeEach[v1.Descriptor]("layers", doc.Layers, l.limits.Layers)
	if err != nil {
		return nil, err
	}
	rawConfig, err := l.document(ctx, "configuration", *doc.Config, l.from.blob)
	if err != nil {
		return nil, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	a := &artifact{digest: digest, id: doc.Config.Digest, configBytes: int64(len(rawConfig))}
	if a.config, err = l.parseConfig(rawConfig, len(layers)); err != nil {
		return nil, err
	}
	for i, d := range layers {
		if !isLayer(d.MediaType) {
			return nil, fmt.Errorf("%w: layer %d is %s", ErrInvalidImage, i+1, d.MediaType)
		}
		if d.Digest == (v1.Hash{}) {
			return nil, fmt.Errorf("%w: layer %d has no digest", ErrInvalidImage, i+1)
		}
		a.layers = append(a.layers, layer{
			diffID: a.config.RootFS.DiffIDs[i], digest: d.Digest, size: d.Size, remote: l.remote,
			open: func(ctx context.Context) (io.ReadCloser, error) { return l.from.blob(ctx, d) },
		})
	}
	return a, l.limits.checkLayers(a.layers)
}

func isLayer(t types.MediaType) bool {
	switch t {
	case types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer, types.DockerUncompressedLayer,
		types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer, types.DockerForeignLayer,
		"application/vnd.docker.image.rootfs.diff.tar.zstd":
		return true
	default:
		return false
	}
}
