package guestlink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
)

// Config sets a Link up.
type Config struct {
	// Dial opens the byte channel to the guest. It is called again whenever the channel broke.
	Dial func(ctx context.Context) (io.ReadWriteCloser, error)
	// Expect says what the guest may report; it is asked for each snapshot.
	Expect func() Expect
	// Known is the latest snapshot from before; nil where there is none. An older one of its boot is dropped.
	Known *wire.Snapshot
	// Logs receives the containers' logs.
	Logs LogSink
	// OnSnapshot gets each snapshot that is newer than those before it, checked, one at a time. A snapshot of a boot in
	// which no pod was configured comes like any other.
	OnSnapshot func(s *wire.Snapshot)
	// Patience is how long a guest may say nothing before it counts as silent; the zero value is 20 s. One and a half
	// times of it without an answer break the channel.
	Patience time.Duration
	// OnChange is called when Greeted or SilentSince changed or a log was copied whole. It must not block.
	OnChange func()
	// Metrics count what the link does; nil is not counted.
	Metrics *Metrics
}

// LogSink keeps the logs that a Link copies; rundir.Dir is one.
type LogSink interface {
	// LogEnd is the offset up to which the attempt's log is kept.
	LogEnd(container string, attempt int32) int64
	// AppendLog returns once b, from offset on, outlives this process.
	AppendLog(container string, attempt int32, offset int64, b []byte) error
	// FinishLog says that there is no more, and LogFinished whether that was said.
	FinishLog(container string, attempt int32)
	LogFinished(container string, attempt int32) bool
}

// defaultPatience makes a silent guest known well before the 40 s after which its pod is no longer ready.
const defaultPatience = 20 * time.Second

// Link is the connection to one guest, through all the channels that it takes. It is safe for concurrent use.
type Link struct {
	config    Config
	cancel    context.CancelFunc
	done      chan struct{} // closed when run has ended
	snapshots *rate.Limiter // of those that are asked for

	mu      sync.Mutex // guards what follows
	current *session   // nil while there is none
	changed chan struct{}
	silent  time.Time
	bootID  string // of the latest greeting
	ack     ack
}

// ack is up to which event of a boot the guest may forget.
type ack struct {
	bootID string
	seq    uint64
}

// Open starts to connect and returns at once. ctx carries the logger; the Link ends at Close, not with ctx.
func Open(ctx context.Context, cfg Config) *Link {
	if cfg.Patience == 0 {
		cfg.Patience = defaultPatience
	}
	if cfg.Metrics == nil {
		cfg.Metrics = NewMetrics(nil)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	l := &Link{
		config:    cfg,
		cancel:    cancel,
		done:      make(chan struct{}),
		snapshots: rate.NewLimiter(snapshotRate, snapshotBurst),
		changed:   make(chan struct{}),
		silent:    time.Now(),
	}
	// Ends at Close.
	go func() {
		defer close(l.done)
		l.run(ctx)
	}()
	return l
}

// Close ends the Link and everything that goes over it, and waits until no callback runs any more. The guest goes on.
func (l *Link) Close() {
	l.cancel()
	<-l.done
}

// Greeted returns the boot id of the guest that greeted last, and whether the channel it did it on is open now.
func (l *Link) Greeted() (bootID string, open bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bootID, l.current != nil
}

// SilentSince is when the guest was last heard; zero while it answers. Before the first greeting it is when the Link was
// opened.
func (l *Link) SilentSince() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.silent
}

// Ack lets the guest forget events up to seq of that boot. It travels with the next wait for a snapshot.
func (l *Link) Ack(bootID string, seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ack.bootID != bootID || l.ack.seq < seq {
		l.ack = ack{bootID, seq}
	}
}

// run connects again and again until ctx ends.
func (l *Link) run(ctx context.Context) {
	known := l.config.Known
	greeted := false
	var pauses pauses
	for attempt := 0; ctx.Err() == nil; attempt++ {
		began, abused := time.Now(), false
		s, err := connect(ctx, l.config, attempt)
		if err == nil {
			known, err = l.serve(ctx, s, known, &greeted)
			l.lost(s)
			attempt, abused = 0, s.abused.Load()
		} else if ctx.Err() == nil {
			l.config.Metrics.failures.Inc()
		}
		if ctx.Err() != nil {
			return
		}
		logging.From(ctx).DebugContext(ctx, "guest link broke", "err", err)
		_ = wait.For(ctx, pauses.after(err, time.Since(began), abused)) // the loop sees that ctx has ended
	}
}

// serve greets the guest and uses the session until it breaks. It returns the latest snapshot known. greeted says whether
// there was a session before, and from then on that there was.
func (l *Link) serve(ctx context.Context, s *session, known *wire.Snapshot, greeted *bool) (*wire.Snapshot, error) {
	ctx, cancel := context.WithCancel(ctx)
	p := &poller{link: l, session: s, known: known, clock: &clock{session: s}}
	p.logs = newCopiers(s, l.config.Logs, l.config.OnChange)
	var alive sync.WaitGroup
	defer func() {
		cancel()
		s.close()
		p.logs.wait()
		alive.Wait()
	}()
	// A guest that does not answer the first calls is connected to anew. Ends with ctx or when the session breaks.
	alive.Go(func() { l.watchLiveness(ctx, s, p.clock) })
	if err := p.greet(ctx); err != nil {
		return p.known, err
	}
	l.config.Metrics.greeted(*greeted) // before anyone can use the session
	l.found(s, p.bootID)
	*greeted = true
	return p.known, p.poll(ctx)
}

// found makes s the session that calls use.
func (l *Link) found(s *session, bootID string) {
	l.mu.Lock()
	l.current, l.bootID, l.silent = s, bootID, time.Time{}
	l.notifyLocked()
	l.mu.Unlock()
	l.config.OnChange()
}

// lost takes s out of use.
func (l *Link) lost(s *session) {
	l.mu.Lock()
	if l.current == s {
		l.current = nil
	}
	if l.silent.IsZero() {
		l.silent = s.heardAt()
	}
	l.notifyLocked()
	l.mu.Unlock()
	l.config.OnChange()
}

func (l *Link) notifyLocked() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// watchLiveness asks a quiet guest for a sign of life, says when it has become silent, and breaks the session when no
// sign comes. It looks at the guest's clock when this machine was suspended or the guest paused.
func (l *Link) watchLiveness(ctx context.Context, s *session, c *clock) {
	tick := time.NewTicker(l.config.Patience / 4)
	defer tick.Stop()
	var ping sync.WaitGroup
	defer ping.Wait()
	asking := make(chan struct{}, 1)
	last := time.Now()
	for {
		select {
		case <-tick.C:
		case <-s.mux.CloseChan():
			return
		case <-ctx.Done():
			return
		}
		now := time.Now()
		if stepped(last, now) {
			// Ends with the answer, or with the session.
			ping.Go(func() { c.look(ctx) })
		}
		last = now
		quiet := time.Since(s.heardAt())
		l.setSilent(s, quiet >= l.config.Patience)
		if quiet < l.config.Patience/2 {
			continue
		}
		select {
		case asking <- struct{}{}:
			// Ends with the answer, after the session's write timeout, or with the session.
			ping.Go(func() {
				took, err := s.mux.Ping()
				if err != nil {
					s.close()
				} else if took > maxDrift {
					c.look(ctx)
				}
				<-asking
			})
		default: // it is being asked
		}
	}
}

func (l *Link) setSilent(s *session, silent bool) {
	l.mu.Lock()
	changed := l.current == s && silent == l.silent.IsZero()
	if changed && silent {
		l.silent = s.heardAt()
	} else if changed {
		l.silent = time.Time{}
	}
	l.mu.Unlock()
	if changed {
		l.config.OnChange()
	}
}

// await returns the open session, and waits for one until ctx or the Link ends.
func (l *Link) await(ctx context.Context) (*session, error) {
	for {
		l.mu.Lock()
		s, changed := l.current, l.changed
		l.mu.Unlock()
		if s != nil && !s.mux.IsClosed() {
			return s, nil
		}
		select {
		case <-changed:
		case <-l.done:
			return nil, fmt.Errorf("%w: the VM ended", ErrUnreachable)
		case <-ctx.Done():
			return nil, unreachable(ctx.Err())
		}
	}
}

// unreachable marks err, and keeps a cancellation recognisable.
func unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnreachable, err)
}
