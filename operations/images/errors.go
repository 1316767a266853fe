package images

// Error says why an image is not here. Reason is one of the kubelet's.
type Error struct {
	Reason string
	Err    error
}

// Error is the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }
