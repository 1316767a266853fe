package flatten

import "errors"

var (
	// ErrMalformed marks a layer that no correct tool would have written: a name that climbs out of the image, a hard
	// link to nothing, a file kind that tar does not have.
	ErrMalformed = errors.New("malformed image")

	// ErrTooLarge marks an image that is larger, or holds more names, than Limits allows.
	ErrTooLarge = errors.New("image too large")
)
