package stdio

import (
	"io"
	"slices"
	"sync"
	"time"
)

const (
	queueLength = 64
	// patience is how long a writer waits for an attached stream that does not read.
	patience = 10 * time.Second
)

// Fanout is a writer that gives a copy to every stream that is attached. One that does not read for long is cut off, so
// that it cannot stop the container. It is safe for concurrent use; writes are in order.
type Fanout struct {
	writing sync.Mutex // orders writes

	mu       sync.Mutex // guards all below
	streams  []*Attachment
	finished bool
}

// Attachment is one stream of what a Fanout gives away.
type Attachment struct {
	fanout *Fanout
	queue  chan []byte
	gone   chan struct{} // closed when the reader has left or was cut off
	leave  func()        // closes gone once
}

// Write gives b to every attached stream. It never fails.
func (f *Fanout) Write(b []byte) (int, error) {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	streams := slices.Clone(f.streams)
	f.mu.Unlock()
	if len(streams) == 0 {
		return len(b), nil
	}
	c := slices.Clone(b)
	for _, s := range streams {
		s.send(c)
	}
	return len(b), nil
}

func (s *Attachment) send(b []byte) {
	select {
	case s.queue <- b:
		return
	case <-s.gone:
		return
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s.queue <- b:
	case <-s.gone:
	case <-timer.C:
		s.leave()
	}
}

// Attach begins to collect what is written from now on, which whoever attached copies away without delay.
func (f *Fanout) Attach() *Attachment {
	s := &Attachment{fanout: f, queue: make(chan []byte, queueLength), gone: make(chan struct{})}
	s.leave = sync.OnceFunc(func() { close(s.gone) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.finished {
		close(s.queue)
		return s
	}
	f.streams = append(f.streams, s)
	return s
}

// Copy copies to dst. It returns when the Fanout was closed and all was copied, when dst fails, or when gone is closed,
// and ends the attachment.
func (s *Attachment) Copy(dst io.Writer, gone <-chan struct{}) {
	defer s.fanout.detach(s)
	for {
		select {
		case b, ok := <-s.queue:
			if !ok {
				return
			}
			if _, err := dst.Write(b); err != nil {
				return
			}
		case <-s.gone:
			return
		case <-gone:
			return
		}
	}
}

func (f *Fanout) detach(s *Attachment) {
	s.leave()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams = slices.DeleteFunc(f.streams, func(o *Attachment) bool { return o == s })
}

// Close ends every Attach after what was written before.
func (f *Fanout) Close() {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.finished {
		return
	}
	f.finished = true
	for _, s := range f.streams {
		close(s.queue)
	}
}
