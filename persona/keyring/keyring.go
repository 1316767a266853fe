package keyring

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/virtual-kubelet/vic/persona"
)

// dockerHub is the key that docker login writes for Docker Hub, whose images are named docker.io/….
const dockerHub = "index.docker.io"

// maxCredentials is how many credentials of one image are tried: each is a question to its registry.
const maxCredentials = 16

// Keyring holds credentials by the images that they are for. The zero value is empty. It is not safe for concurrent use
// while something is added.
type Keyring struct {
	entries []*entry
	byKey   map[string]*entry
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
	e := k.byKey[p.String()]
	if e == nil {
		e = &entry{key: p.String(), pattern: p}
		if k.byKey == nil {
			k.byKey = map[string]*entry{}
		}
		k.entries, k.byKey[e.key] = append(k.entries, e), e
	}
	e.credentials = append(e.credentials, c)
	return nil
}

// AddEach is Add for each of all. What can't be added is left out, and the error names it.
func (k *Keyring) AddEach(all map[string]persona.Credentials) error {
	var bad badEntries
	for _, key := range slices.Sorted(maps.Keys(all)) {
		bad.note(key, k.Add(key, all[key]))
	}
	return bad.err()
}

// Lookup returns the credentials that may be meant for the image, those of the best match first, and no more than 16. None is not
// an error: the image may be public.
func (k *Keyring) Lookup(image string) []persona.Credentials {
	named, err := reference.ParseDockerRef(image)
	if err != nil {
		return nil
	}
	repository, err := repositoryPattern(named.Name())
	if err != nil {
		return nil
	}
	var found []*entry
	for _, e := range k.entries {
		if e.pattern.matches(repository) {
			found = append(found, e)
		}
	}
	if hub := k.byKey[dockerHub]; len(found) == 0 && hub != nil && reference.Domain(named) == "docker.io" {
		found = append(found, hub)
	}
	// Reverse order puts longer keys before their beginnings, and names before globs.
	slices.SortFunc(found, func(a, b *entry) int { return strings.Compare(b.key, a.key) })
	var all []persona.Credentials
	for _, e := range found {
		all = append(all, e.credentials...)
	}
	return all[:min(len(all), maxCredentials)]
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
	repository, err := repositoryPattern(named.Name())
	return err == nil && p.matches(repository), nil
}
