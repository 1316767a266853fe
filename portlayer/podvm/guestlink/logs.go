package guestlink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
)

const (
	copyBytes    = 64 << 10
	ackBytes     = 256 << 10              // how much is copied before the guest may free it
	copyPause    = 100 * time.Millisecond // before a copy that broke is tried again; it doubles
	maxCopyPause = 30 * time.Second
	// maxCopiers is how many attempts of one container are copied at a time, so that a guest which claims one attempt after
	// the other gains nothing.
	maxCopiers = 4
	// maxLogOffset is more than any log has, and far from overflowing.
	maxLogOffset = 1 << 50
)

type logKey struct {
	container string
	attempt   int32
}

// copiers copy the logs of one guest during one session, one goroutine an attempt.
type copiers struct {
	session *session
	sink    LogSink
	copied  func()
	running sync.WaitGroup

	mu     sync.Mutex // guards active
	active map[logKey]bool
}

func newCopiers(s *session, sink LogSink, copied func()) *copiers {
	return &copiers{session: s, sink: sink, copied: copied, active: map[logKey]bool{}}
}

// wait returns when every copier has ended.
func (c *copiers) wait() { c.running.Wait() }

// want copies the log of every attempt that s has and that is not whole yet. ctx is the session's.
func (c *copiers) want(ctx context.Context, s *wire.Snapshot) {
	for _, status := range s.Containers {
		if status.State == wire.ContainerRunning {
			c.start(ctx, logKey{status.Name, status.RestartCount})
		}
		for _, t := range []*wire.Terminated{status.Current, status.Last} {
			if t != nil && !c.whole(status.Name, t) {
				c.start(ctx, logKey{status.Name, t.Attempt})
			}
		}
	}
}

// whole reports whether the log of an attempt that ended has been copied, as far as its length is known.
func (c *copiers) whole(container string, t *wire.Terminated) bool {
	if c.sink.LogFinished(container, t.Attempt) {
		return true
	}
	if c.sink.LogEnd(container, t.Attempt) < t.LogBytes {
		return false
	}
	c.mu.Lock()
	active := c.active[logKey{container, t.Attempt}]
	c.mu.Unlock()
	if !active {
		c.sink.FinishLog(container, t.Attempt)
		c.copied()
	}
	return true
}

func (c *copiers) start(ctx context.Context, key logKey) {
	if c.sink.LogFinished(key.container, key.attempt) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.active[key] || c.countLocked(key.container) >= maxCopiers {
		return // the next snapshot comes back to it
	}
	c.active[key] = true
	// Ends when the log is whole or with the session.
	c.running.Go(func() {
		c.copyAll(ctx, key)
		c.mu.Lock()
		delete(c.active, key)
		c.mu.Unlock()
	})
}

func (c *copiers) countLocked(container string) int {
	n := 0
	for key := range c.active {
		if key.container == container {
			n++
		}
	}
	return n
}

// copyAll copies a log to its end, and tries again where the guest dropped lines meanwhile or the host could not keep it.
func (c *copiers) copyAll(ctx context.Context, key logKey) {
	for pause := copyPause; ; pause = min(2*pause, maxCopyPause) {
		err := c.copy(ctx, key)
		if err == nil {
			c.sink.FinishLog(key.container, key.attempt)
			c.copied()
			return
		}
		if ctx.Err() != nil || c.session.mux.IsClosed() {
			return
		}
		logging.From(ctx).WarnContext(ctx, "log copy paused", "container", key.container, "err", err)
		if wait.For(ctx, pause) != nil {
			return
		}
	}
}

// copy reads the log from where the sink's copy ends until the guest says that it is whole.
func (c *copiers) copy(ctx context.Context, key logKey) error {
	offset := c.sink.LogEnd(key.container, key.attempt)
	resp, err := c.session.request(ctx, http.MethodGet, logPath(key, offset), nil)
	var status *StatusError
	if errors.As(err, &status) && (status.Code == http.StatusNotFound || status.Code == http.StatusRequestedRangeNotSatisfiable) {
		return nil // the guest has nothing more of it and never will: a former boot wrote it
	}
	if err != nil {
		return err
	}
	defer closeBody(resp.Body)
	if begin := resp.Header.Get(wire.HeaderLogOffset); begin != "" {
		if offset, err = strconv.ParseInt(begin, 10, 64); err != nil || offset < 0 || offset > maxLogOffset {
			return fmt.Errorf("%w: log offset %q", ErrMalformed, clean(begin, maxReasonBytes))
		}
	}
	return c.pump(ctx, key, offset, resp.Body)
}

// pump writes what comes and lets the guest free what is written.
func (c *copiers) pump(ctx context.Context, key logKey, offset int64, r io.Reader) error {
	freed := offset
	buf := make([]byte, copyBytes)
	for {
		n, readErr := r.Read(buf)
		if err := c.sink.AppendLog(key.container, key.attempt, offset, buf[:n]); err != nil {
			return err
		}
		offset += int64(n)
		ended := errors.Is(readErr, io.EOF)
		if offset-freed >= ackBytes || (ended && offset > freed) {
			if err := c.free(ctx, key, offset); err != nil {
				return err
			}
			freed = offset
		}
		if ended {
			return nil
		}
		if readErr != nil {
			return unreachable(readErr)
		}
	}
}

func (c *copiers) free(ctx context.Context, key logKey, offset int64) error {
	return c.session.call(ctx, http.MethodDelete, logPath(key, offset), nil, nil)
}

func logPath(key logKey, offset int64) string {
	path := containerPath(wire.PathLog, key.container)
	path = strings.Replace(path, "{attempt}", strconv.FormatInt(int64(key.attempt), 10), 1)
	return path + "?offset=" + strconv.FormatInt(offset, 10)
}
