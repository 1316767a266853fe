package statedir

import (
	"errors"
	"fmt"
)

var (
	// ErrHeld means that another process holds the directory.
	ErrHeld = errors.New("another control plane runs in it")
	// ErrNotRunning means that no process holds the directory.
	ErrNotRunning = errors.New("no control plane runs in it")
)

// NoSpaceError says that too little space is left under a directory.
type NoSpaceError struct {
	Dir              string
	FreeMiB, NeedMiB uint64
}

// Error says how much is free and how much is needed.
func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("disk full: %s has %d MiB left, %d MiB are needed", e.Dir, e.FreeMiB, e.NeedMiB)
}
