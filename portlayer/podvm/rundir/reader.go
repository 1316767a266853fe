package rundir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ReadOptions select a part of an attempt's log. The zero value is all there is now.
type ReadOptions struct {
	Follow bool
	// Tail is a number of lines from the end; 0 and less mean all.
	Tail int
	// OnlyNew leaves out every line that is there already, whatever Tail says.
	OnlyNew    bool
	Since      time.Time
	Timestamps bool
	LimitBytes int64
}

const (
	readBytes = 32 << 10
	// maxLineBytes is more than a guest puts on one line; a longer one is delivered in pieces.
	maxLineBytes = 64 << 10
)

// ReadLog returns the text of an attempt's log. A reader that follows waits for more until the attempt has ended and
// everything was delivered, ctx ends or it is closed; one that is a whole segment behind the writer sees a mark of what it
// missed.
func (d *Dir) ReadLog(ctx context.Context, container string, attempt int32, opts ReadOptions) (io.ReadCloser, error) {
	l, err := d.log(container, attempt)
	if err != nil {
		return nil, err
	}
	r := &reader{log: l, opts: opts, done: make(chan struct{}), part: map[string]bool{}}
	v := l.view()
	r.limit = v.end
	if len(v.segments) > 0 {
		r.pos = v.segments[0].start
	}
	switch {
	case opts.OnlyNew && !opts.Follow:
		r.pos = r.limit
	case opts.OnlyNew:
		r.pos, err = behindLines(l.folder, v.segments)
	case opts.Tail > 0:
		r.pos, err = tailStart(l.folder, v.segments, opts.Tail)
	}
	if err != nil {
		return nil, fmt.Errorf("find the end of the log of %s: %w", container, err)
	}
	r.detach = context.AfterFunc(ctx, r.stop)
	return r, nil
}

type reader struct {
	log    *log
	opts   ReadOptions
	limit  int64 // where a reader that does not follow ends
	detach func() bool

	stopping sync.Once
	done     chan struct{}

	reading sync.Mutex // guards what follows
	pos     int64      // offset in the guest's log of the next byte to read
	file    *os.File   // the segment that starts at start; nil when the next one is to be opened
	start   int64
	raw     []byte          // read, not yet a whole line
	out     []byte          // ready for the caller
	sent    int64           // bytes made ready so far
	part    map[string]bool // streams whose last line was a part
	stamp   []byte          // of the latest line
	drained bool            // nothing more will be read
}

// Close ends a Read that waits.
func (r *reader) Close() error {
	r.detach()
	r.stop()
	r.reading.Lock()
	defer r.reading.Unlock()
	r.closeFile()
	return nil
}

func (r *reader) stop() { r.stopping.Do(func() { close(r.done) }) }

func (r *reader) Read(b []byte) (int, error) {
	r.reading.Lock()
	defer r.reading.Unlock()
	for len(r.out) == 0 {
		select {
		case <-r.done:
			r.closeFile()
			return 0, io.EOF
		default:
		}
		if r.drained {
			r.closeFile()
			return 0, io.EOF
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, r.out)
	r.out = r.out[n:]
	return n, nil
}

// fill renders the next lines, reads more, or waits for more.
func (r *reader) fill() error {
	for {
		i := bytes.IndexByte(r.raw, '\n')
		if i < 0 {
			break
		}
		r.render(r.raw[:i])
		r.raw = r.raw[i+1:]
		if r.drained || len(r.out) >= readBytes {
			return nil
		}
	}
	if len(r.out) > 0 {
		return nil
	}
	if len(r.raw) >= maxLineBytes {
		r.flush()
		return nil
	}
	return r.read()
}

// read gets bytes of the segment at pos, opens the next one, or waits.
func (r *reader) read() error {
	v := r.log.view()
	if r.file != nil {
		n, err := r.readFile(v)
		if n > 0 || err != nil {
			return err
		}
		r.closeFile()
	}
	if !r.opts.Follow && r.pos >= r.limit {
		r.end(v)
		return nil
	}
	for _, s := range v.segments {
		if s.end() > r.pos {
			return r.open(s)
		}
	}
	if v.ended || !r.opts.Follow {
		r.end(v)
		return nil
	}
	select {
	case <-v.changed:
	case <-r.done:
	}
	return nil
}

// readFile reads what the open segment has behind pos; 0 says that it has no more.
func (r *reader) readFile(v view) (int, error) {
	size := int64(-1)
	for _, s := range v.segments {
		if s.start == r.start {
			size = s.size
		}
	}
	if size < 0 { // deleted meanwhile, so nobody writes it any more
		info, err := r.file.Stat()
		if err != nil {
			return 0, err
		}
		size = info.Size()
	}
	left := r.start + size - r.pos
	if !r.opts.Follow {
		left = min(left, r.limit-r.pos)
	}
	if left <= 0 {
		return 0, nil
	}
	b := make([]byte, min(left, readBytes))
	n, err := r.file.ReadAt(b, r.pos-r.start)
	if err != nil && (n == 0 || !errors.Is(err, io.EOF)) {
		return n, fmt.Errorf("read log: %w", err)
	}
	r.pos += int64(n)
	r.raw = append(r.raw, b[:n]...)
	return n, nil
}

func (r *reader) open(s segment) error {
	f, err := os.Open(filepath.Join(r.log.folder, s.name()))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted since the view was made; the next one shows what is there
	}
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if s.start > r.pos {
		r.flush()
		r.mark(s.start - r.pos)
		r.pos = s.start
	}
	r.file, r.start = f, s.start
	return nil
}

// end delivers a last line that was never finished, where nobody will finish it.
func (r *reader) end(v view) {
	if v.ended {
		r.flush()
	}
	r.drained = true
}

// flush renders what there is of a line. Where that is less than its head there is nothing to show.
func (r *reader) flush() {
	if len(r.raw) > 0 && !tornHead.Match(r.raw) {
		r.render(r.raw)
	}
	r.raw = nil
}

// mark stands for bytes that are in no segment.
func (r *reader) mark(lost int64) {
	var b []byte
	if r.opts.Timestamps && len(r.stamp) > 0 {
		b = append(append(b, r.stamp...), ' ')
	}
	r.emit(fmt.Appendf(b, "[%d bytes of this log were dropped]\n", lost))
}

func (r *reader) render(b []byte) {
	l := parseLine(b)
	if !r.opts.Since.IsZero() && !l.at.IsZero() && l.at.Before(r.opts.Since) {
		return
	}
	var text []byte
	if len(l.stamp) > 0 {
		r.stamp = bytes.Clone(l.stamp)
		if r.opts.Timestamps && !r.part[l.stream] {
			text = append(append(text, l.stamp...), ' ')
		}
		r.part[l.stream] = !l.whole
	}
	text = append(text, l.content...)
	if l.whole {
		text = append(text, '\n')
	}
	r.emit(text)
}

// emit adds text to what the caller gets, up to the limit it set.
func (r *reader) emit(text []byte) {
	if r.opts.LimitBytes > 0 {
		if left := r.opts.LimitBytes - r.sent; int64(len(text)) >= left {
			text = text[:left]
			r.drained = true
		}
	}
	r.sent += int64(len(text))
	r.out = append(r.out, text...)
}

func (r *reader) closeFile() {
	if r.file != nil {
		_ = r.file.Close() // it was only read
		r.file = nil
	}
}
