package logfile

import (
	"bytes"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// The names of a container's streams in its log.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Writer makes the lines of one stream of a File. It is not safe for concurrent use.
type Writer struct {
	file   *File
	stream string
	line   []byte // begun and not yet written
	err    error  // the latest failure
}

// Writer returns a Writer of the stream of that name.
func (l *File) Writer(stream string) *Writer { return &Writer{file: l, stream: stream} }

// Write takes bytes as the container wrote them. It never fails: a log that cannot be written must not stop a container.
func (w *Writer) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		i := bytes.IndexByte(b, '\n')
		room := wire.MaxLogLineBytes - len(w.line)
		switch {
		case i >= 0 && i <= room:
			w.line = append(w.line, b[:i]...)
			w.flush("F", "\n")
			b = b[i+1:]
		case len(b) > room:
			w.line = append(w.line, b[:room]...)
			w.flush("P", "")
			b = b[room:]
		default:
			w.line = append(w.line, b...)
			b = nil
		}
	}
	return n, nil
}

// Close writes a last line that has no newline, and returns the latest failure of all writes.
func (w *Writer) Close() error {
	if len(w.line) > 0 {
		w.flush("P", "")
	}
	return w.err
}

func (w *Writer) flush(tag, end string) {
	b := time.Now().UTC().AppendFormat(nil, time.RFC3339Nano)
	b = append(b, ' ')
	b = append(b, w.stream...)
	b = append(b, ' ')
	b = append(b, tag...)
	b = append(b, ' ')
	b = append(b, w.line...)
	b = append(b, '\n')
	if err := w.file.append(b, append(w.line, end...)); err != nil {
		w.err = err
	}
	w.line = w.line[:0]
}
