package rundir

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

const (
	tailBlock = 64 << 10
	// headBytes is enough for a line's time, stream and tag.
	headBytes = 64
)

// tailStart returns the offset at which the last count lines begin. Parts of one line count once, and a last line that has
// no end yet counts too.
func tailStart(folder string, segments []segment, count int) (int64, error) {
	t := &tail{left: count, last: true}
	var start int64
	for i, s := range slices.Backward(segments) {
		if t.left == 0 && i+1 < len(segments) && s.end() != segments[i+1].start {
			break // what would go on here was dropped
		}
		found, err := t.searchFile(filepath.Join(folder, s.name()), s.size)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		if found {
			return s.start + t.lineEnd, nil
		}
		start = s.start
	}
	return start, nil
}

// behindLines returns the offset behind the last raw line that was copied whole: what comes next is new.
func behindLines(folder string, segments []segment) (start int64, err error) {
	for _, s := range slices.Backward(segments) {
		f, err := os.Open(filepath.Join(folder, s.name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		b := make([]byte, min(s.size, maxLineBytes))
		_, err = f.ReadAt(b, s.size-int64(len(b)))
		_ = f.Close() // it was only read
		if err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		start = s.end() - int64(len(b))
		if i := bytes.LastIndexByte(b, '\n'); i >= 0 || s.size > maxLineBytes {
			return start + int64(i) + 1, nil
		}
	}
	return start, nil // one line began the log, or has no end as far as is kept
}

// tail counts lines from the end of a log.
type tail struct {
	file    io.ReaderAt
	lineEnd int64 // behind the newline of the raw line that is looked at
	left    int   // lines still wanted
	last    bool  // the raw line that is looked at is the log's last
}

// searchFile searches one segment, from its end, and returns whether the wanted lines begin in it, at lineEnd. Where they
// do not, or begin with it, the segment before it has to be asked.
func (t *tail) searchFile(path string, size int64) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // it was only read
	t.file, t.lineEnd = f, size
	block := make([]byte, tailBlock)
	for high := size; high > 0; {
		low := max(high-tailBlock, 0)
		b := block[:high-low]
		if _, err := io.ReadFull(io.NewSectionReader(f, low, high-low), b); err != nil {
			return false, err
		}
		if t.search(b, low) {
			return true, nil
		}
		high = low
	}
	return t.begins(0), nil
}

// search goes backward through b, which stands at offset low, and returns whether the wanted lines begin at lineEnd.
func (t *tail) search(b []byte, low int64) bool {
	for i, c := range slices.Backward(b) {
		if c != '\n' {
			continue
		}
		at := low + int64(i) + 1
		if t.begins(at) {
			return true
		}
		t.lineEnd = at
	}
	return false
}

// begins takes the raw line between at and lineEnd, and returns whether it belongs to a line more than is wanted.
func (t *tail) begins(at int64) bool {
	if at >= t.lineEnd || (!t.last && !endsLine(t.file, at, t.lineEnd)) {
		return false
	}
	t.last = false
	if t.left == 0 {
		return true
	}
	t.left--
	return false
}

// endsLine reports whether the raw line between two offsets is whole or the last part of one.
func endsLine(f io.ReaderAt, from, to int64) bool {
	b := make([]byte, min(to-from, headBytes))
	n, err := f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return true
	}
	return parseLine(bytes.TrimSuffix(b[:n], []byte{'\n'})).whole
}
