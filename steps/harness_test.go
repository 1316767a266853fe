package steps_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/steps"
)

// tank is a toy: pumps fill it up to the level that is wanted, or empty it. A step moves one litre.
type tank struct {
	loop *steps.Loop[level]

	mu sync.Mutex // guards all below

	level, wanted int
	broken        error         // of a pump
	blind         error         // of a look
	slow          time.Duration // what a litre takes
	quiet         bool
	stuck         bool          // pumps run and the level stays
	again         time.Duration // as a step's outcome
	leaks         time.Time     // when a litre is lost
	forgiven      bool          // its failures are forgotten at the next look
	last          bool          // the step that empties it is the last

	done     counts
	failures map[string]steps.Try // when a step ended last
}

// counts are what has happened so far.
type counts struct{ looks, begun, ended, cancelled int }

// level is what a look has seen.
type level struct {
	is, wanted int
	leaks      time.Time
}

func (l level) Mark() any { return l.is }

func (l level) Turned() bool { return l.wanted == 0 }

func (l level) Lasts() time.Duration { return max(0, time.Until(l.leaks)) }

func (t *tank) Look(context.Context) (level, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done.looks++
	if t.forgiven {
		t.loop.Retries().Succeeded("fill")
	}
	if t.blind != nil {
		return level{}, t.blind
	}
	if !t.leaks.IsZero() && !time.Now().Before(t.leaks) {
		t.level, t.leaks = t.level-1, time.Time{}
	}
	return level{t.level, t.wanted, t.leaks}, nil
}

func (t *tank) Next(_ context.Context, v level) steps.Decision {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case v.is < v.wanted:
		return steps.Decision{Step: steps.Step{Name: "fill", Builds: true, Quiet: t.quiet, Timeout: time.Minute, Do: t.pump(1)}}
	case v.is > v.wanted:
		return steps.Decision{Step: steps.Step{Name: "empty", Last: t.last, Timeout: time.Minute, Do: t.pump(-1)}}
	}
	return steps.Decision{Over: t.last}
}

// pump moves a litre.
func (t *tank) pump(litres int) func(context.Context) steps.Outcome {
	broken, slow, stuck, again := t.broken, t.slow, t.stuck, t.again
	return func(ctx context.Context) steps.Outcome {
		t.set(func() { t.done.begun++ })
		select {
		case <-ctx.Done():
			return steps.Outcome{Err: ctx.Err()}
		case <-time.After(slow):
		}
		return steps.Outcome{Err: broken, Again: again, Then: func() {
			if broken == nil && !stuck {
				t.set(func() { t.level += litres })
			}
		}}
	}
}

func (t *tank) Ended(_ context.Context, r steps.Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done.ended++
	t.failures = t.loop.Retries().Failures() // of this goroutine, as the loop is
	if r.Cancelled {
		t.done.cancelled++
	}
}

// counts waits until all is still.
func (t *tank) counts() counts {
	synctest.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}

func (t *tank) failed() map[string]steps.Try {
	synctest.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failures
}

func (t *tank) set(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

// change lets a test change the tank, and wakes the loop.
func (t *tank) change(f func()) {
	t.set(f)
	t.loop.Wake()
	synctest.Wait()
}

// running runs test beside the loop of a tank.
func running(t *testing.T, tk *tank, test func(t *testing.T, reg *prometheus.Registry, returned <-chan struct{})) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		tk.loop = steps.New(steps.Config{Kind: "tank", Metrics: steps.NewMetrics(reg, "tank")}, tk)
		ctx, cancel := context.WithCancel(t.Context())
		returned := make(chan struct{})
		go func() { // ends with ctx
			defer close(returned)
			tk.loop.Run(ctx)
		}()
		synctest.Wait()
		test(t, reg, returned)
		cancel()
		<-returned
	})
}

// sleep lets the bubble's time pass, and what is due be done.
func sleep(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

var errDry = errors.New("the pump runs dry")

// isClosed is true when c is.
func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func requireLevel(t *testing.T, tk *tank, want int) {
	t.Helper()
	synctest.Wait()
	tk.set(func() { require.Equal(t, want, tk.level) })
}
