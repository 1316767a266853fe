package persona

import (
	"fmt"

	"github.com/distribution/reference"
)

// NormalizeName returns the full form of an image name, as Docker completes it: hello becomes
// docker.io/library/hello:latest. A tag beside a digest is dropped. The error wraps ErrInvalidName.
func NormalizeName(name string) (string, error) {
	named, err := parseName(name)
	if err != nil {
		return "", err
	}
	return named.String(), nil
}

func parseName(name string) (reference.Named, error) {
	named, err := reference.ParseDockerRef(name)
	if err != nil {
		return nil, fmt.Errorf("%w %q: %w", ErrInvalidName, quotable(name, maxQuotedBytes), err)
	}
	return named, nil
}

// digestName returns the name that always means this image: the repository of named with a digest.
func digestName(named reference.Named, digest string) string {
	return reference.FamiliarName(named) + "@" + digest
}
