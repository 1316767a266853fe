package rundir

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// openAttempts is how many attempts of a container stay open; readers and writers of older ones end. A guest names any
// attempt it likes, in any order.
const openAttempts = 16

type logKey struct {
	container string
	attempt   int32
}

// AppendLog adds b, which stands at offset of the attempt's log in the guest. What is there already is skipped; an
// offset behind the end leaves a gap that readers see marked. It returns when write(2) has taken everything.
func (d *Dir) AppendLog(container string, attempt int32, offset int64, b []byte) error {
	l, err := d.log(container, attempt)
	if err != nil {
		return err
	}
	if err := l.append(offset, b); err != nil {
		return fmt.Errorf("append to the log of %s, attempt %d: %w", container, attempt, err)
	}
	return nil
}

// LogEnd returns the offset up to which the attempt's log has been copied.
func (d *Dir) LogEnd(container string, attempt int32) int64 {
	l, err := d.log(container, attempt)
	if err != nil {
		return 0
	}
	return l.view().end
}

// FinishLog records that the attempt has ended and its log was copied whole, which ends those who follow it.
func (d *Dir) FinishLog(container string, attempt int32) {
	if l, err := d.log(container, attempt); err == nil {
		l.finish()
	}
}

// LogFinished reports whether FinishLog was called since the directory was opened.
func (d *Dir) LogFinished(container string, attempt int32) bool {
	l, err := d.log(container, attempt)
	return err == nil && l.view().finished
}

// Attempts returns the attempts of a container that have a log, ascending.
func (d *Dir) Attempts(container string) []int32 {
	if !validName(container) {
		return nil
	}
	var attempts []int32
	for _, s := range readSegments(d.logFolder(container)) {
		attempts = append(attempts, s.attempt)
	}
	slices.Sort(attempts)
	return slices.Compact(attempts)
}

func (d *Dir) logFolder(container string) string { return filepath.Join(d.path, logsFolder, container) }

// log returns the one log of that attempt.
func (d *Dir) log(container string, attempt int32) (*log, error) {
	if !validName(container) || attempt < 0 {
		return nil, fmt.Errorf("log of container %q, attempt %d: %w", container, attempt, ErrNotFound)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.removed {
		return nil, fmt.Errorf("log of container %s: %w", container, ErrNotFound)
	}
	key := logKey{container, attempt}
	if l, ok := d.logs[key]; ok {
		return l, nil
	}
	l := &log{
		folder:  d.logFolder(container),
		attempt: attempt,
		config:  d.config,
		live:    d.live,
		changed: make(chan struct{}),
	}
	for _, s := range readSegments(l.folder) {
		if s.attempt == attempt {
			l.segments = append(l.segments, s)
		}
	}
	d.closeOldestLocked(container)
	d.logs[key] = l
	return l, nil
}

// closeOldestLocked makes room for one more open attempt of a container.
func (d *Dir) closeOldestLocked(container string) {
	oldest, open := logKey{container: container, attempt: math.MaxInt32}, 0
	for key := range d.logs {
		if key.container == container {
			oldest.attempt = min(oldest.attempt, key.attempt)
			open++
		}
	}
	if open < openAttempts {
		return
	}
	d.logs[oldest].close()
	delete(d.logs, oldest)
}

// segment is one file of a log.
type segment struct {
	attempt int32
	start   int64 // offset in the guest's log of its first byte
	size    int64
}

func (s segment) end() int64 { return s.start + s.size }

func (s segment) name() string { return fmt.Sprintf("%d-%d.log", s.attempt, s.start) }

// readSegments lists the segments in a folder by attempt and start; what has another name is none.
func readSegments(folder string) []segment {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil // there is no log yet
	}
	var segments []segment
	for _, e := range entries {
		attempt, start, ok := strings.Cut(strings.TrimSuffix(e.Name(), ".log"), "-")
		a, errA := strconv.ParseInt(attempt, 10, 32)
		o, errO := strconv.ParseInt(start, 10, 64)
		info, errI := e.Info()
		if ok && errA == nil && errO == nil && errI == nil {
			segments = append(segments, segment{attempt: int32(a), start: o, size: info.Size()})
		}
	}
	slices.SortFunc(segments, func(a, b segment) int {
		if a.attempt != b.attempt {
			return int(a.attempt - b.attempt)
		}
		return int(min(max(a.start-b.start, -1), 1))
	})
	return segments
}

// log is the log of one attempt.
type log struct {
	folder  string
	attempt int32
	config  Config

	mu       sync.Mutex // guards what follows
	segments []segment
	file     *os.File // the last segment, while it is written
	finished bool
	live     bool
	closed   bool
	changed  chan struct{} // closed and replaced at each change
}

// view is what a log looked like at one moment.
type view struct {
	segments []segment
	end      int64
	finished bool
	ended    bool            // nothing will be added
	changed  <-chan struct{} // closed when this view is out of date
}

func (l *log) view() view {
	l.mu.Lock()
	defer l.mu.Unlock()
	return view{
		segments: slices.Clone(l.segments),
		end:      l.endLocked(),
		finished: l.finished,
		ended:    l.finished || l.closed || !l.live,
		changed:  l.changed,
	}
}

func (l *log) endLocked() int64 {
	if len(l.segments) == 0 {
		return 0
	}
	return l.segments[len(l.segments)-1].end()
}

func (l *log) append(offset int64, b []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrNotFound
	}
	end := l.endLocked()
	if offset < end {
		b = b[min(end-offset, int64(len(b))):]
	}
	if len(b) == 0 {
		return nil
	}
	if offset > end {
		l.closeFileLocked()
		if err := l.beginLocked(offset); err != nil {
			return err
		}
	}
	defer l.notifyLocked()
	for len(b) > 0 {
		n, err := l.writeLocked(b)
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// writeLocked writes the beginning of b to the last segment, and closes that where it is full and a line ends.
func (l *log) writeLocked(b []byte) (int, error) {
	if err := l.openLocked(); err != nil {
		return 0, err
	}
	last := &l.segments[len(l.segments)-1]
	part := b
	room := l.config.SegmentBytes - last.size
	full := int64(len(b)) > room
	if full {
		part = b[:endOfLine(b, room)]
	}
	n, err := l.file.Write(part)
	last.size += int64(n)
	if err != nil {
		return n, err
	}
	if full && (part[len(part)-1] == '\n' || last.size > 2*l.config.SegmentBytes) {
		l.closeFileLocked()
		return n, l.beginLocked(last.end())
	}
	return n, nil
}

// endOfLine returns where to end a segment with room bytes left: behind the last line of b that fits, else behind the
// first line of b, else behind b.
func endOfLine(b []byte, room int64) int {
	if room > 0 {
		if i := bytes.LastIndexByte(b[:room], '\n'); i >= 0 {
			return i + 1
		}
	}
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// openLocked makes the last segment writable.
func (l *log) openLocked() error {
	if l.file != nil {
		return nil
	}
	if len(l.segments) == 0 {
		return l.beginLocked(0)
	}
	path := filepath.Join(l.folder, l.segments[len(l.segments)-1].name())
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0o600)
	if errors.Is(err, fs.ErrNotExist) { // later attempts have made it go
		return l.beginLocked(l.endLocked())
	}
	if err != nil {
		return err
	}
	l.file = f
	return nil
}

// beginLocked starts a segment at start and deletes those that are too many.
func (l *log) beginLocked(start int64) error {
	if len(l.segments) == 0 {
		if err := l.firstLocked(); err != nil {
			return err
		}
	}
	s := segment{attempt: l.attempt, start: start}
	f, err := os.OpenFile(filepath.Join(l.folder, s.name()), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	l.file = f
	l.segments = append(l.segments, s)
	for len(l.segments) > l.config.Segments {
		if err := removeFile(filepath.Join(l.folder, l.segments[0].name())); err != nil {
			return err
		}
		l.segments = slices.Delete(l.segments, 0, 1)
	}
	return nil
}

// firstLocked makes room for the log of one more attempt.
func (l *log) firstLocked() error {
	if err := os.MkdirAll(l.folder, 0o700); err != nil {
		return err
	}
	segments := readSegments(l.folder)
	var attempts []int32
	for _, s := range segments {
		attempts = append(attempts, s.attempt)
	}
	attempts = slices.Compact(attempts) // they are sorted
	excess := len(attempts) - (l.config.Attempts - 1)
	if excess <= 0 {
		return nil
	}
	for _, s := range segments {
		if s.attempt > attempts[excess-1] {
			break
		}
		if err := removeFile(filepath.Join(l.folder, s.name())); err != nil {
			return err
		}
	}
	return nil
}

// removeFile removes a segment, unless the log of another attempt was as fast.
func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (l *log) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.finished = true
	l.closeFileLocked()
	l.notifyLocked()
}

func (l *log) setLive(live bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.live = live
	if !live {
		l.closeFileLocked()
	}
	l.notifyLocked()
}

func (l *log) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	l.closeFileLocked()
	l.notifyLocked()
}

func (l *log) closeFileLocked() {
	if l.file != nil {
		_ = l.file.Close() // every write was checked, and nothing is buffered
		l.file = nil
	}
}

func (l *log) notifyLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}
