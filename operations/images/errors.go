package images

import (
	"errors"

	"github.com/virtual-kubelet/vic/persona"
)

// Error says why an image is not here. Reason is one of the kubelet's.
type Error struct {
	Reason string
	Err    error
}

// Error is the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// cause is err for a text that names its image already.
func cause(err error) error {
	if pull, ok := errors.AsType[*persona.PullError](err); ok {
		return pull.Err
	}
	return err
}
