package guestlink

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// maxDrift is how far a guest's clock may be off. A VM that was paused, or whose host was suspended, is behind by as long
	// as that took.
	maxDrift = time.Second
	// clockPause is how long after a look at a guest's clock there is no other one.
	clockPause = 10 * time.Second
)

// clock keeps a guest's clock near ours during one session. It is safe for concurrent use.
type clock struct {
	session *session

	mu     sync.Mutex // guards looked
	looked time.Time
}

// seen takes the time that an answer carries which came just now. The answer may have been on the way for long, so that
// one which is off calls for no more than a closer look.
func (c *clock) seen(ctx context.Context, at time.Time) {
	if !at.IsZero() && time.Since(at).Abs() > maxDrift {
		c.look(ctx)
	}
}

// look asks the guest for its time, and steps its clock where that is off however long question and answer took.
func (c *clock) look(ctx context.Context) {
	c.mu.Lock()
	due := c.looked.IsZero() || time.Since(c.looked) >= clockPause
	if due {
		c.looked = time.Now()
	}
	c.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	var hello wire.Hello
	asked := time.Now()
	err := c.session.call(ctx, http.MethodGet, wire.PathHello, nil, &hello)
	if err == nil && off(hello.Time, asked, time.Now()) {
		logging.From(ctx).InfoContext(ctx, "guest clock was off", "offset", hello.Time.Sub(asked.Round(0)))
		err = c.session.call(ctx, http.MethodPut, wire.PathClock, wire.Clock{Time: time.Now()}, nil)
	}
	if err != nil {
		logging.From(ctx).DebugContext(ctx, "guest clock was not set", "err", err)
	}
}

// off reports whether at, by the guest's clock, can't have been between two times of ours. A guest that does not say its time
// is left alone.
func off(at, asked, answered time.Time) bool {
	// Round takes away the clock that nobody sets: times of day are compared.
	return !at.IsZero() && (at.Before(asked.Round(0).Add(-maxDrift)) || at.After(answered.Round(0).Add(maxDrift)))
}

// stepped reports whether our own time of day changed otherwise than time went by: this machine was suspended, or its clock set.
func stepped(before, now time.Time) bool {
	return (now.Round(0).Sub(before.Round(0)) - now.Sub(before)).Abs() > maxDrift
}

// moment is the latest time that something happened, by the clock that nobody sets and that stands still while this
// machine is suspended: nobody was silent then.
type moment struct {
	began time.Time
	after atomic.Int64 // nanoseconds
}

func newMoment() *moment { return &moment{began: time.Now()} }

func (m *moment) now() { m.after.Store(int64(time.Since(m.began))) }

func (m *moment) time() time.Time { return m.began.Add(time.Duration(m.after.Load())) }
