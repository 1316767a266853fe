package keyring

import (
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/virtual-kubelet/vic/persona"
)

// dockerHub is the key that docker login writes for Docker Hub, whose images are named docker.io/….
const dockerHub = "index.docker.io"

// Keyring holds credentials by the images that they are for. The zero value is empty. It is not safe for concurrent use
// while something is added.
type Keyring struct {
	entries []entry // longer keys first
}

type entry struct {
	key         string
	pattern     pattern
	credentials []persona.Credentials // in the order in which they were added
}

// Add keeps c for the images of key: a host with or without port and path, and perhaps a scheme, which is ignored.
func (k *Keyring) Add(key string, c persona.Credentials) error {
	p, err := parsePattern(key)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(k.entries, func(e entry) bool { return e.key == p.String() }); i >= 0 {
		k.entries[i].credentials = append(k.entries[i].credentials, c)
		return nil
	}
	k.entries = append(k.entries, entry{key: p.String(), pattern: p, credentials: []persona.Credentials{c}})
	// Reverse order puts longer keys before their beginnings, and names before globs.
	slices.SortFunc(k.entries, func(a, b entry) int { return strings.Compare(b.key, a.key) })
	return nil
}

// Lookup returns all credentials that may be meant for the image, those of the best match first. None is not an error: the image
// may be public.
func (k *Keyring) Lookup(image string) []persona.Credentials {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return nil
	}
	repository := named.Name()
	var all []persona.Credentials
	for _, e := range k.entries {
		if e.pattern.matches(repository) {
			all = append(all, e.credentials...)
		}
	}
	if len(all) > 0 || reference.Domain(named) != "docker.io" {
		return all
	}
	if i := slices.IndexFunc(k.entries, func(e entry) bool { return e.key == dockerHub }); i >= 0 {
		return slices.Clone(k.entries[i].credentials)
	}
	return nil
}

// Matches reports whether an image is one of a key's, by the same rules as Lookup.
func Matches(key, image string) (bool, error) {
	p, err := parsePattern(key)
	if err != nil {
		return false, err
	}
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return false, fmt.Errorf("%w %q: %w", persona.ErrInvalidName, image, err)
	}
	return p.matches(named.Name()), nil
}
