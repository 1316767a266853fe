package logfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Errors of readers.
var (
	// ErrDropped says that the wanted part was dropped before it was read.
	ErrDropped = errors.New("log was dropped")
	// ErrBeyondEnd says that an offset is beyond what was written.
	ErrBeyondEnd = errors.New("offset beyond the end of the log")
)

const (
	readBytes = 64 << 10
	blockSize = 4096
	// dropBytes is how much is dropped at once, so that dropping is rare.
	dropBytes = 1 << 20
	tailBytes = 2048 // what the kubelet takes of a log as termination message
	tailLines = 80
)

// File is the log of one attempt. It is safe for concurrent use.
type File struct {
	limit int64 // of what is kept

	mu      sync.Mutex // guards all below
	f       *os.File
	start   int64 // first byte that is kept; the beginning of a line
	punched int64 // everything before was given back
	end     int64
	ended   bool
	changed chan struct{} // closed and replaced at each change
	tail    []byte        // the newest text, without the format's prefixes
}

// Open opens the log at path for more lines, and makes it where there is none. It keeps at most limit bytes that are
// not acknowledged.
func Open(path string, limit int64) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &File{limit: limit, f: f, changed: make(chan struct{})}
	if err := l.recover(); err != nil {
		_ = f.Close() // the cause is returned
		return nil, fmt.Errorf("open log %s: %w", path, err)
	}
	return l, nil
}

// recover finds the kept lines of a file from a former boot. A crash may have torn its last line.
func (l *File) recover() error {
	fi, err := l.f.Stat()
	if err != nil || fi.Size() == 0 {
		return err
	}
	l.end = fi.Size()
	l.start, err = l.f.Seek(0, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) { // all of it was freed
		l.start, l.punched = l.end, l.end
		return nil
	} else if err != nil {
		return err
	}
	if l.start, err = l.skip(l.start, func(b []byte) int { // the freed part of the first block
		return bytes.IndexFunc(b, func(r rune) bool { return r != 0 })
	}); err != nil {
		return err
	}
	l.punched = l.start
	return l.truncateTornLine()
}

// skip returns the offset of the first byte from offset on that find finds, and the end where it finds none.
func (l *File) skip(offset int64, find func([]byte) int) (int64, error) {
	buf := make([]byte, readBytes)
	for offset < l.end {
		n, err := l.f.ReadAt(buf[:min(int64(len(buf)), l.end-offset)], offset)
		if n == 0 {
			return 0, err
		}
		if i := find(buf[:n]); i >= 0 {
			return offset + int64(i), nil
		}
		offset += int64(n)
	}
	return l.end, nil
}

func (l *File) truncateTornLine() error {
	from := max(l.start, l.end-2*readBytes)
	b := make([]byte, l.end-from)
	if _, err := l.f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	whole := from + int64(bytes.LastIndexByte(b, '\n')) + 1
	if whole == l.end {
		return nil
	}
	l.end = whole
	l.start = min(l.start, l.end)
	return l.f.Truncate(whole)
}

// append adds one formatted line, whose text is text. What cannot be written is lost; the log stays consistent.
func (l *File) append(line, text []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, text...)
	l.tail = l.tail[max(0, len(l.tail)-tailBytes):]
	if n, err := l.f.WriteAt(line, l.end); err != nil {
		if n > 0 {
			err = errors.Join(err, l.f.Truncate(l.end))
		}
		return fmt.Errorf("write log: %w", err)
	}
	l.end += int64(len(line))
	l.changedLocked()
	if l.end-l.start > l.limit {
		return l.dropOldestLocked()
	}
	return nil
}

func (l *File) dropOldestLocked() error {
	next, err := l.skip(l.start+min(dropBytes, l.limit/2), func(b []byte) int { return bytes.IndexByte(b, '\n') })
	if err != nil {
		return fmt.Errorf("drop the oldest log: %w", err)
	}
	return l.freeLocked(min(next+1, l.end))
}

func (l *File) changedLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Free gives back all before offset, which its reader has copied.
func (l *File) Free(offset int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.freeLocked(min(offset, l.end))
}

func (l *File) freeLocked(offset int64) error {
	if offset <= l.start {
		return nil
	}
	l.start = offset
	// Whole blocks only: the rest of a block is zeroed with the next one.
	n := offset/blockSize*blockSize - l.punched
	if offset == l.end && l.ended {
		n = offset - l.punched
	}
	if n <= 0 {
		return nil
	}
	err := unix.Fallocate(int(l.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, l.punched, n)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return fmt.Errorf("free log: %w", err)
	}
	l.punched += n
	return nil
}

// End says that the attempt has ended and that nothing more comes.
func (l *File) End() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.changedLocked()
}

// Close closes the file; readers get an error.
func (l *File) Close() error {
	l.End()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Close()
}

// Size is the length of the log so far, freed parts included.
func (l *File) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.end
}

// Tail is the newest text as the kubelet takes it for a termination message: 80 lines, and at most 2048 bytes.
func (l *File) Tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, lines := l.tail, 0
	for i := len(b) - 2; i >= 0; i-- {
		if b[i] != '\n' {
			continue
		}
		if lines++; lines == tailLines {
			return string(b[i+1:])
		}
	}
	return string(b)
}

// From returns where reading from offset on begins: behind what was freed or dropped.
func (l *File) From(offset int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset > l.end {
		return 0, fmt.Errorf("%w: %d of %d", ErrBeyondEnd, offset, l.end)
	}
	return max(offset, l.start), nil
}

// Follow writes the log from offset on to w, until the attempt has ended and all of it was written.
func (l *File) Follow(ctx context.Context, offset int64, w io.Writer) error {
	buf := make([]byte, readBytes)
	for {
		n, err := l.wait(ctx, offset)
		if err != nil || n == 0 {
			return err
		}
		b := buf[:min(n, readBytes)]
		if _, err := l.f.ReadAt(b, offset); err != nil {
			return fmt.Errorf("read log: %w", err)
		}
		if from, err := l.From(offset); err != nil || from != offset { // dropped while it was read
			return errors.Join(err, ErrDropped)
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		offset += int64(len(b))
	}
}

// wait returns how much there is to read from offset on; 0 is the end.
func (l *File) wait(ctx context.Context, offset int64) (int64, error) {
	for {
		l.mu.Lock()
		start, end, ended, changed := l.start, l.end, l.ended, l.changed
		l.mu.Unlock()
		switch {
		case offset < start:
			return 0, ErrDropped
		case offset < end:
			return end - offset, nil
		case ended:
			return 0, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}
