package provider

import (
	"errors"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/virtual-kubelet/vic/portlayer"
)

// notFoundError is an absence in the form that Virtual Kubelet looks for.
type notFoundError struct{ error }

// NotFound makes it errdefs.ErrNotFound.
func (notFoundError) NotFound() bool { return true }

// Unwrap keeps the cause visible to errors.Is.
func (e notFoundError) Unwrap() error { return e.error }

// invalidInputError is a bad request in the form that Virtual Kubelet looks for.
type invalidInputError struct{ error }

// InvalidInput makes it errdefs.ErrInvalidInput.
func (invalidInputError) InvalidInput() bool { return true }

// Unwrap keeps the cause visible to errors.Is.
func (e invalidInputError) Unwrap() error { return e.error }

// toVK puts err into the form that Virtual Kubelet understands: it looks only at the outermost error and does not
// follow Unwrap, so this comes last of all.
func toVK(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, portlayer.ErrNotFound), apierrors.IsNotFound(err):
		return notFoundError{err}
	case errors.Is(err, portlayer.ErrUnsupported), apierrors.IsBadRequest(err), apierrors.IsInvalid(err):
		return invalidInputError{err}
	default:
		return err
	}
}
