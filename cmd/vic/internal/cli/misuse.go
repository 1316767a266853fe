package cli

import "fmt"

// MisuseError is a mistake in what the user typed or wrote.
type MisuseError struct{ error }

// Unwrap returns the mistake itself.
func (e *MisuseError) Unwrap() error { return e.error }

// Misused makes a MisuseError, fmt.Errorf's way.
func Misused(format string, args ...any) error {
	return &MisuseError{fmt.Errorf(format, args...)}
}
