package logfile

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
)

// File is a writer with at most limit bytes in it and as many in its predecessor. It is safe for concurrent use.
type File struct {
	path  string
	limit int64

	mu     sync.Mutex // guards all below
	file   *os.File
	size   int64
	fatal  string
	stderr bool // the file is standard error, too
}

// Open moves what is at path to path.1 and begins anew. The files are readable by their owner only.
func Open(path string, limit int64) (*File, error) {
	f := &File{path: path, limit: limit}
	if err := f.rotate(); err != nil {
		return nil, err
	}
	return f, nil
}

// Write appends p, after a rotation when p would not fit.
func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if isFatal(p) {
		f.fatal = firstLine(p)
	}
	if f.size > 0 && f.size+int64(len(p)) > f.limit {
		if err := f.rotate(); err != nil {
			return 0, err
		}
	}
	n, err := f.file.Write(p)
	f.size += int64(n)
	return n, err
}

// Fatal returns the message of the last line of severity F, and "" when there was none.
func (f *File) Fatal() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fatal
}

// Close ends the log.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.file.Close()
}

// rotate is called with the lock held, or before f is shared.
func (f *File) rotate() error {
	if f.file != nil {
		if err := f.file.Close(); err != nil {
			return fmt.Errorf("close log: %w", err)
		}
	}
	if err := os.Rename(f.path, f.path+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("rotate log: %w", err)
	}
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	f.file, f.size = file, 0
	if f.stderr {
		return f.becomeStderrLocked()
	}
	return nil
}

// isFatal knows klog's header: a letter for the severity, then month and day.
func isFatal(p []byte) bool {
	return len(p) > 5 && p[0] == 'F' && p[1] >= '0' && p[1] <= '1' && p[5] == ' '
}

// firstLine is the message of the first line, without klog's header, which ends in "file.go:123] ".
func firstLine(p []byte) string {
	line, _, _ := bytes.Cut(p, []byte("\n"))
	if _, message, ok := bytes.Cut(line, []byte("] ")); ok {
		return string(message)
	}
	return string(line)
}
