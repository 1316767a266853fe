package persona

import (
	"errors"
	"fmt"
	"strings"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

var (
	// ErrNotFound means that there is no such image: not here or, from Pull, not in the registry.
	ErrNotFound = errors.New("image not found")

	// ErrInvalidName means that a name can be no image's. The error quotes it.
	ErrInvalidName = errors.New("invalid image name")

	// ErrPlatform means that an image is for another system. The error is a *PlatformError.
	ErrPlatform = errors.New("image is for another platform")

	// ErrDigestMismatch means that what came is not what its digest promised.
	ErrDigestMismatch = errors.New("digest mismatch")

	// ErrUnauthorized means that the registry wants other credentials, or any.
	ErrUnauthorized = errors.New("registry refused access")

	// ErrUnavailable means that the registry did not answer, or is not able to serve now; later it may.
	ErrUnavailable = errors.New("registry is unavailable")

	// ErrInvalidImage means that the image is damaged, or is not a container image.
	ErrInvalidImage = flatten.ErrMalformed

	// ErrTooLarge means that the image exceeds Config's limits.
	ErrTooLarge = flatten.ErrTooLarge
)

// PullError says which image could not be pulled.
type PullError struct {
	// Ref is the image as it was asked for.
	Ref string
	Err error
}

// Error names the image and the cause.
func (e *PullError) Error() string { return fmt.Sprintf("pull image %q: %v", e.Ref, e.Err) }

// Unwrap returns the cause.
func (e *PullError) Unwrap() error { return e.Err }

// PlatformError is ErrPlatform with what was asked for and what there is.
type PlatformError struct {
	// Want and Found are written os/architecture, as in linux/amd64.
	Want  string
	Found []string
}

// Error names the platforms that the image has.
func (e *PlatformError) Error() string {
	found := strings.Join(e.Found, ", ")
	if found == "" {
		found = "none"
	}
	return fmt.Sprintf("%v: want %s, found %s", ErrPlatform, e.Want, found)
}

// Is makes errors.Is(err, ErrPlatform) true.
func (e *PlatformError) Is(target error) bool { return target == ErrPlatform }
