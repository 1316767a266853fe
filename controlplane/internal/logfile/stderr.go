package logfile

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// Stderr is the standard error that the process had before a log took its place. Writing to it is how the process
// still speaks to a person.
type Stderr struct {
	log      *File
	original *os.File
}

// TakeStderr has whatever is written to standard error go to f, as some libraries keep loggers there that can't be set.
// The report of a crash goes to both.
func TakeStderr(f *File) (*Stderr, error) {
	fd, err := unix.FcntlInt(os.Stderr.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("keep standard error: %w", err)
	}
	s := &Stderr{log: f, original: os.NewFile(uintptr(fd), "stderr")}
	if err := debug.SetCrashOutput(s.original, debug.CrashOptions{}); err != nil {
		return nil, errors.Join(fmt.Errorf("set crash output: %w", err), s.original.Close())
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stderr = true
	return s, f.becomeStderrLocked()
}

// Write writes to what standard error was.
func (s *Stderr) Write(p []byte) (int, error) { return s.original.Write(p) }

// GiveBack makes it standard error again.
func (s *Stderr) GiveBack() error {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	s.log.stderr = false
	if err := unix.Dup3(int(s.original.Fd()), unix.Stderr, 0); err != nil {
		return fmt.Errorf("give standard error back: %w", err)
	}
	return errors.Join(debug.SetCrashOutput(nil, debug.CrashOptions{}), s.original.Close())
}

// becomeStderrLocked puts the open file in the place of standard error.
func (f *File) becomeStderrLocked() error {
	if err := unix.Dup3(int(f.file.Fd()), unix.Stderr, 0); err != nil {
		return fmt.Errorf("take standard error: %w", err)
	}
	return nil
}
