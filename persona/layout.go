package persona

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Annotations that name an image in a layout: the first is the OCI's and often a tag only, the second containerd's.
const (
	annotationRefName   = "org.opencontainers.image.ref.name"
	annotationImageName = "io.containerd.image.name"
)

// layoutBlobs are the blobs of an OCI layout (OCI image specification, image-layout.md).
type layoutBlobs struct{ from files }

func (b layoutBlobs) manifest(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return b.blob(ctx, d)
}

func (b layoutBlobs) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	r, _, err := b.from.open("blobs/" + d.Digest.Algorithm + "/" + d.Digest.Hex)
	return r, err
}

// loadLayout reads the image called named, or the only one, from the layout whose index.json is raw.
func (l *loader) loadLayout(ctx context.Context, from files, raw []byte, named reference.Named) (*artifact, naming, error) {
	if err := l.limits.checkDocument("index.json", int64(len(raw))); err != nil {
		return nil, naming{}, err
	}
	var index document
	if err := decode("index.json", raw, &index); err != nil {
		return nil, naming{}, err
	}
	manifests, err := decodeEach[v1.Descriptor]("manifests in index.json", index.Manifests, maxDescriptors)
	if err != nil {
		return nil, naming{}, err
	}
	chosen, err := chooseNamed(manifests, named, func(d v1.Descriptor) []string { return layoutNames(d, named) })
	if err != nil {
		return nil, naming{}, err
	}
	l.from = layoutBlobs{from}
	// The descriptors form an index of their own: often there is one for each platform.
	if raw, err = json.Marshal(v1.IndexManifest{SchemaVersion: 2, Manifests: chosen}); err != nil {
		return nil, naming{}, err
	}
	a, err := l.load(ctx, raw)
	if err != nil {
		return nil, naming{}, err
	}
	var names naming
	for _, d := range chosen {
		names.tags = append(names.tags, layoutNames(d, nil)...)
	}
	return a, names, nil
}

// layoutNames returns the names that d's annotations give. A tag alone is a name if named says of what.
func layoutNames(d v1.Descriptor, named reference.Named) []string {
	name := cmp.Or(d.Annotations[annotationImageName], d.Annotations[annotationRefName])
	if name == "" {
		return nil
	}
	if !strings.ContainsAny(name, ":/") {
		if named == nil {
			return nil
		}
		name = reference.FamiliarName(named) + ":" + name
	}
	return familiarNames([]string{name})
}

// familiarNames returns those of names that can be an image's, in Docker's short form.
func familiarNames(names []string) []string {
	var all []string
	for _, n := range names {
		if named, err := parseName(n); err == nil {
			all = append(all, reference.FamiliarString(named))
		}
	}
	return all
}

// chooseNamed returns those of all that namesOf calls named; if there is none, or no name was asked for, all of them, as long
// as they are one image: some under no name, or all under the same.
func chooseNamed[T any](all []T, named reference.Named, namesOf func(T) []string) ([]T, error) {
	if named != nil {
		want := reference.FamiliarString(named)
		chosen := slices.DeleteFunc(slices.Clone(all), func(t T) bool { return !slices.Contains(namesOf(t), want) })
		if len(chosen) > 0 {
			return chosen, nil
		}
	}
	var names []string
	for _, t := range all {
		names = append(names, strings.Join(namesOf(t), ","))
	}
	slices.Sort(names)
	if distinct := slices.Compact(names); len(distinct) > 1 {
		return nil, fmt.Errorf("%w: it holds several images (%s): name one", ErrNotFound, strings.Join(distinct, " "))
	}
	return all, nil
}
