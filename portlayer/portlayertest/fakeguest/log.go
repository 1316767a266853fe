package fakeguest

import (
	"fmt"
	"sync"
	"time"
)

// Log writes to the log of a container's current attempt, as its process would. It fails when none runs.
func (g *Guest) Log(container, stream, text string) error {
	g.mu.Lock()
	c := g.findLocked(container)
	if c == nil || c.stop == nil {
		g.mu.Unlock()
		return fmt.Errorf("container %s does not run", container)
	}
	log := c.logs[c.status.RestartCount]
	g.mu.Unlock()
	log.write(stream, []byte(text))
	return nil
}

// DropLog makes the guest lose the beginning of the current attempt's log up to offset, as a full one does.
func (g *Guest) DropLog(container string, offset int64) {
	g.mu.Lock()
	log := g.findLocked(container).logs[g.findLocked(container).status.RestartCount]
	g.mu.Unlock()
	log.free(offset)
}

// LogFreed is up to where the host has let the guest free the current attempt's log.
func (g *Guest) LogFreed(container string) int64 {
	g.mu.Lock()
	log := g.findLocked(container).logs[g.findLocked(container).status.RestartCount]
	g.mu.Unlock()
	log.mu.Lock()
	defer log.mu.Unlock()
	return log.freed
}

// LogPart is what an attempt's log has behind some offset.
type LogPart struct {
	Start   int64  // where it begins: behind the offset where the guest has lost or freed what was there
	Lines   []byte // as in a CRI log
	Ended   bool   // nothing will come behind it
	Changed <-chan struct{}
}

// Next is the offset behind it.
func (p LogPart) Next() int64 { return p.Start + int64(len(p.Lines)) }

// ReadLog returns what an attempt's log has behind offset; false where there is no such attempt in this boot.
func (g *Guest) ReadLog(container string, attempt int32, offset int64) (LogPart, bool) {
	log := g.findLog(container, attempt)
	if log == nil {
		return LogPart{}, false
	}
	return log.from(offset), true
}

func (g *Guest) findLog(container string, attempt int32) *attemptLog {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.findLocked(container)
	if c == nil {
		return nil
	}
	return c.logs[attempt]
}

// attemptLog is the log of one attempt.
type attemptLog struct {
	mu      sync.Mutex // guards what follows
	data    []byte
	freed   int64
	ended   bool
	changed chan struct{}
}

// write adds b in CRI form; b is whole lines.
func (l *attemptLog) write(stream string, b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range splitLines(b) {
		l.data = fmt.Appendf(l.data, "%s %s F %s\n", time.Now().UTC().Format(time.RFC3339Nano), stream, line)
	}
	l.notifyLocked()
}

func (l *attemptLog) free(offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.freed = max(l.freed, min(offset, int64(len(l.data))))
}

func (l *attemptLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.notifyLocked()
}

func (l *attemptLog) length() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.data))
}

func (l *attemptLog) notifyLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// from returns what stands behind offset.
func (l *attemptLog) from(offset int64) LogPart {
	l.mu.Lock()
	defer l.mu.Unlock()
	start := min(max(offset, l.freed), int64(len(l.data)))
	return LogPart{Start: start, Lines: l.data[start:len(l.data):len(l.data)], Ended: l.ended, Changed: l.changed}
}

// wait returns when the attempt has ended or its host is gone.
func (l *attemptLog) wait(gone <-chan struct{}) {
	for {
		part := l.from(0)
		if part.Ended {
			return
		}
		select {
		case <-part.Changed:
		case <-gone:
			return
		}
	}
}
