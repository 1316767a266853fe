package persona

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"regexp"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// dockerImage is an entry of manifest.json in an archive of docker save.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// configNames are the names that tools give to a configuration; all hold its digest.
var configNames = regexp.MustCompile(`^(?:blobs/sha256/|sha256:)?([0-9a-f]{64})(?:\.json)?$`)

// loadDockerSave reads the image called named, or the only one, from the archive whose manifest.json is raw.
func (l *loader) loadDockerSave(_ context.Context, from files, raw []byte, named reference.Named) (*artifact, naming, error) {
	if err := l.limits.checkDocument("manifest.json", int64(len(raw))); err != nil {
		return nil, naming{}, err
	}
	var list []json.RawMessage
	if err := decode("manifest.json", raw, &list); err != nil {
		return nil, naming{}, err
	}
	all, err := decodeEach[dockerImage]("images in manifest.json", list, maxDescriptors)
	if err != nil {
		return nil, naming{}, err
	}
	if len(all) > 1 || named != nil {
		if all, err = chooseNamed(all, named, func(d dockerImage) []string { return familiarNames(d.RepoTags) }); err != nil {
			return nil, naming{}, err
		}
	}
	if len(all) != 1 {
		return nil, naming{}, fmt.Errorf("%w: manifest.json has %d images to choose from", ErrInvalidImage, len(all))
	}
	a, err := l.dockerArtifact(from, all[0])
	return a, naming{tags: familiarNames(all[0].RepoTags)}, err
}

func (l *loader) dockerArtifact(from files, d dockerImage) (*artifact, error) {
	raw, err := readFile(from, d.Config)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	id, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if m := configNames.FindStringSubmatch(path.Clean(d.Config)); m != nil && m[1] != id.Hex {
		return nil, fmt.Errorf("%w: configuration is %s and should be %s", ErrDigestMismatch, id, m[1])
	}
	if err := l.limits.checkDocument("configuration", size); err != nil {
		return nil, err
	}
	if len(d.Layers) > l.limits.Layers {
		return nil, fmt.Errorf("%w: %d layers, the most is %d", ErrTooLarge, len(d.Layers), l.limits.Layers)
	}
	a := &artifact{id: id, configBytes: size}
	if a.config, err = l.parseConfig(raw, len(d.Layers)); err != nil {
		return nil, err
	}
	for i, name := range d.Layers {
		r, size, err := from.open(name)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
		a.layers = append(a.layers, layer{
			diffID: a.config.RootFS.DiffIDs[i], size: size,
			open: func(context.Context) (io.ReadCloser, error) {
				r, _, err := from.open(name)
				return r, err
			},
		})
	}
	if err := l.limits.checkLayers(a.layers); err != nil {
		return nil, err
	}
	a.digest, err = a.madeUpDigest()
	return a, err
}

// madeUpDigest is that of the manifest that a would have with its layers as they are unpacked.
func (a *artifact) madeUpDigest() (v1.Hash, error) {
	m := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     types.DockerManifestSchema2,
		Config:        v1.Descriptor{MediaType: types.DockerConfigJSON, Size: a.configBytes, Digest: a.id},
	}
	for _, l := range a.layers {
		m.Layers = append(m.Layers, v1.Descriptor{MediaType: types.DockerUncompressedLayer, Size: l.size, Digest: l.diffID})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return v1.Hash{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	return digest, err
}
