package rundir

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	tailBlock = 64 << 10
	// headBytes is enough for a line's time, stream and tag.
	headBytes = 64
)

// tailStart returns the offset at which the last count lines begin. Parts of one line count once.
func tailStart(folder string, segments []segment, count int) (int64, error) {
	if len(segments) == 0 {
		return 0, nil
	}
	for i := len(segments) - 1; i >= 0; i-- {
		start, missing, err := tailOf(folder, segments[i], count)
		if err != nil {
			return 0, err
		}
		if missing == 0 {
			return start, nil
		}
		count = missing
	}
	return segments[0].start, nil
}

// tailOf searches one segment, from its end, for the beginning of the last count lines; missing is how many lines more
// the segments before it must have.
func tailOf(folder string, s segment, count int) (start int64, missing int, err error) {
	f, err := os.Open(filepath.Join(folder, s.name()))
	if errors.Is(err, fs.ErrNotExist) {
		return s.end(), count, nil
	}
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }() // it was only read

	lineEnd := s.size // behind the newline of the line that is looked at
	seen := 0
	block := make([]byte, tailBlock)
	for high := s.size; high > 0; {
		low := max(high-tailBlock, 0)
		b := block[:high-low]
		if _, err := io.ReadFull(io.NewSectionReader(f, low, high-low), b); err != nil {
			return 0, 0, err
		}
		for i := len(b) - 1; i >= 0; i-- {
			if b[i] != '\n' {
				continue
			}
			at := low + int64(i) + 1
			if at < lineEnd && endsLine(f, at, lineEnd) {
				if seen++; seen > count {
					return s.start + lineEnd, 0, nil
				}
			}
			lineEnd = at
		}
		high = low
	}
	if lineEnd > 0 && endsLine(f, 0, lineEnd) {
		if seen++; seen > count {
			return s.start + lineEnd, 0, nil
		}
	}
	return s.start, count - seen, nil
}

// endsLine tells whether the raw line between two offsets is whole or the last part of one.
func endsLine(f io.ReaderAt, from, to int64) bool {
	b := make([]byte, min(to-from, headBytes))
	n, err := f.ReadAt(b, from)
	if err != nil && !errors.Is(err, io.EOF) {
		return true
	}
	return parseLine(bytes.TrimSuffix(b[:n], []byte{'\n'})).whole
}
