package operations

// ImageError says why an image is not here. Reason is one of the kubelet's.
type ImageError struct {
	Reason string
	Err    error
}

// Error is the cause.
func (e *ImageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ImageError) Unwrap() error { return e.Err }
