package guestlink

import (
	"errors"
	"fmt"
)

var (
	// ErrUnreachable says that the guest did not answer, or not within the time it had.
	ErrUnreachable = errors.New("guest does not answer")
	// ErrMalformed says that the guest sent what no guest of ours sends.
	ErrMalformed = errors.New("malformed answer of the guest")
)

// maxErrorBytes is how much of a guest's error text is kept.
const maxErrorBytes = 1024

// A StatusError is the guest's refusal of a call.
type StatusError struct {
	Code    int // the HTTP status
	Message string
}

// Error quotes the guest's words.
func (e *StatusError) Error() string {
	return fmt.Sprintf("guest answered with status %d: %s", e.Code, e.Message)
}
