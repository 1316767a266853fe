package steps_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/virtual-kubelet/vic/internal/testmetrics"
)

func TestStepsFollowEachOtherUntilNothingIsLeftToDo(t *testing.T) {
	tk := &tank{wanted: 3}
	running(t, tk, func(t *testing.T, reg *prometheus.Registry, _ <-chan struct{}) {
		requireLevel(t, tk, 3)
		assert.Equal(t, 3, tk.counts().begun)
		assert.InDelta(t, 3, testmetrics.Value(t, reg, `vic_tank_steps_total{result="ok",step="fill"}`), 0)
		assert.InDelta(t, 0, testmetrics.Value(t, reg, `vic_tank_steps_running{step="fill"}`), 0)
		assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_tank_workers`), 0)
	})
}

func TestALoopLooksWhenItIsWokenAndOnceAMinute(t *testing.T) {
	tk := &tank{}
	running(t, tk, func(t *testing.T, _ *prometheus.Registry, _ <-chan struct{}) {
		require.Equal(t, 1, tk.counts().looks)
		tk.change(func() { tk.wanted = 1 })
		requireLevel(t, tk, 1)
		looks := tk.counts().looks
		sleep(59 * time.Second)
		assert.Equal(t, looks, tk.counts().looks)
		tk.set(func() { tk.level = 0 }) // and nobody says so
		sleep(2 * time.Second)
		requireLevel(t, tk, 1)
	})
}

func TestALoopLooksWhenAViewHasHadItsTime(t *testing.T) {
	tk := &tank{wanted: 5, level: 5}
	running(t, tk, func(t *testing.T, _ *prometheus.Registry, _ <-chan struct{}) {
		tk.change(func() { tk.leaks = time.Now().Add(5 * time.Second) })
		sleep(4 * time.Second)
		assert.Zero(t, tk.counts().begun)
		sleep(time.Second)
		assert.Equal(t, 1, tk.counts().begun, "the litre that leaked")
		requireLevel(t, tk, 5)
	})
}

func TestItLooksAndReportsWhileAStepIsBeingDone(t *testing.T) {
	tk := &tank{wanted: 1, slow: 10 * time.Second}
	running(t, tk, func(t *testing.T, reg *prometheus.Registry, _ <-chan struct{}) {
		looks := tk.counts().looks
		tk.change(func() { tk.wanted = 2 })
		assert.Equal(t, looks+1, tk.counts().looks)
		assert.Equal(t, 1, tk.counts().begun, "one step at a time")
		assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_tank_steps_running{step="fill"}`), 0)
		sleep(20 * time.Second)
		requireLevel(t, tk, 2)
	})
}

func TestAStepThatFailsIsTriedAgainLaterEachTime(t *testing.T) {
	tk := &tank{wanted: 1, broken: errDry}
	running(t, tk, func(t *testing.T, reg *prometheus.Registry, _ <-chan struct{}) {
		require.ErrorIs(t, tk.failed()["fill"].Err, errDry)
		sleep(2 * time.Minute)
		assert.GreaterOrEqual(t, tk.counts().begun, 6, "after 0, 1, 3, 7, 15, 31, 63 and 123 s, but for the jitter")
		assert.LessOrEqual(t, tk.counts().begun, 8)
		assert.InDelta(t, tk.counts().ended, testmetrics.Value(t, reg, `vic_tank_steps_total{result="error",step="fill"}`), 0)

		tk.change(func() { tk.broken = nil })
		sleep(2 * time.Minute)
		requireLevel(t, tk, 1)
		assert.Empty(t, tk.failed(), "it succeeded")
	})
}

func TestTheBackOffOfOneStepHoldsUpNoOther(t *testing.T) {
	tk := &tank{wanted: 1, broken: errDry}
	running(t, tk, func(t *testing.T, _ *prometheus.Registry, _ <-chan struct{}) {
		sleep(time.Minute)
		tk.change(func() { tk.level, tk.wanted, tk.broken = 5, 3, nil })
		requireLevel(t, tk, 3)
	})
}

func TestARetryThatIsForgivenIsDoneAtOnce(t *testing.T) {
	tk := &tank{wanted: 1, broken: errDry}
	running(t, tk, func(t *testing.T, _ *prometheus.Registry, _ <-chan struct{}) {
		sleep(time.Minute)
		tk.change(func() {
			tk.broken = nil
			tk.forgiven = true
		})
		requireLevel(t, tk, 1)
	})
}

func TestAStepIsNotRepeatedBeforeItsEffectShows(t *testing.T) {
	tests := map[string]struct {
		again time.Duration
		want  int // steps within ten seconds
	}{
		"for half a second":                    {0, 20},
		"for as long as its outcome says":      {4 * time.Second, 3},
		"for half a second, if that says less": {time.Millisecond, 20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tk := &tank{wanted: 1, stuck: true, again: tt.again}
			running(t, tk, func(t *testing.T, _ *prometheus.Registry, _ <-chan struct{}) {
				for range 10 {
					tk.change(func() {}) // to be woken is not a change
				}
				require.Equal(t, 1, tk.counts().begun)
				sleep(10*time.Second - time.Millisecond)
				assert.Equal(t, tt.want, tk.counts().begun)
			})
		})
	}
}

func TestAStepIsRepeatedAtOnceWhenItsEffectShows(t *testing.T) {
	tk := &tank{wanted: 5, stuck: true, again: time.Hour}
	running(t, tk, func(t *testing.T, _ *prometheus.Registry, _ <-chan struct{}) {
		require.Equal(t, 1, tk.counts().begun)
		tk.change(func() { tk.level = 2 })
		assert.Equal(t, 2, tk.counts().begun)
	})
}

func TestAStepThatBuildsIsCancelledWhenTheGoalTurns(t *testing.T) {
	tk := &tank{level: 1, wanted: 2, slow: 10 * time.Second}
	running(t, tk, func(t *testing.T, reg *prometheus.Registry, _ <-chan struct{}) {
		tk.change(func() { tk.wanted = 3 })
		assert.Zero(t, tk.counts().cancelled, "the goal is further away in the same direction")
		tk.change(func() { tk.wanted, tk.slow = 0, 0 })
		assert.Equal(t, 1, tk.counts().cancelled)
		requireLevel(t, tk, 0)
		assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_tank_steps_total{result="cancelled",step="fill"}`), 0)
		assert.Empty(t, tk.failed(), "that it was cancelled is not a failure")
	})
}

func TestAStepThatTearsDownIsNotCancelled(t *testing.T) {
	tk := &tank{level: 1, wanted: 0, slow: 10 * time.Second}
	running(t, tk, func(t *testing.T, _ *prometheus.Registry, _ <-chan struct{}) {
		tk.change(func() {})
		sleep(10 * time.Second)
		assert.Zero(t, tk.counts().cancelled)
		requireLevel(t, tk, 0)
	})
}

func TestAStepHasADeadline(t *testing.T) {
	tk := &tank{wanted: 1, slow: time.Hour}
	running(t, tk, func(t *testing.T, reg *prometheus.Registry, _ <-chan struct{}) {
		sleep(61 * time.Second)
		assert.Equal(t, 1, tk.counts().ended)
		assert.Zero(t, tk.counts().cancelled)
		assert.InDelta(t, 1, testmetrics.Value(t, reg, `vic_tank_steps_total{result="error",step="fill"}`), 0)
	})
}

func TestALookThatFailsIsTriedAgainLaterEachTime(t *testing.T) {
	tk := &tank{wanted: 1, blind: errDry}
	running(t, tk, func(t *testing.T, _ *prometheus.Registry, _ <-chan struct{}) {
		sleep(2 * time.Minute)
		assert.GreaterOrEqual(t, tk.counts().looks, 6)
		assert.LessOrEqual(t, tk.counts().looks, 8)
		assert.Zero(t, tk.counts().begun, "nothing is decided blindly")
		tk.change(func() { tk.blind = nil })
		requireLevel(t, tk, 1)
	})
}

func TestRunReturnsWhenNothingIsLeftToDo(t *testing.T) {
	tests := map[string]*tank{
		"since there was nothing from the beginning": {last: true},
		"after its last step":                        {last: true, level: 1},
	}
	for name, tk := range tests {
		t.Run(name, func(t *testing.T) {
			running(t, tk, func(t *testing.T, _ *prometheus.Registry, returned <-chan struct{}) {
				synctest.Wait()
				assert.True(t, isClosed(returned))
				assert.Equal(t, 1, tk.counts().looks)
				requireLevel(t, tk, 0)
			})
		})
	}
}

func TestALastStepThatFailsIsNotTheLast(t *testing.T) {
	tk := &tank{last: true, level: 1, broken: errDry}
	running(t, tk, func(t *testing.T, _ *prometheus.Registry, returned <-chan struct{}) {
		synctest.Wait()
		assert.False(t, isClosed(returned))
		tk.change(func() { tk.broken = nil })
		sleep(5 * time.Second)
		assert.True(t, isClosed(returned))
	})
}

func TestRunWaitsForTheStepThatItCancels(t *testing.T) {
	tk := &tank{level: 1, wanted: 0, slow: time.Hour}
	running(t, tk, func(*testing.T, *prometheus.Registry, <-chan struct{}) {})
	assert.Equal(t, 1, tk.done.begun)
	assert.Zero(t, tk.done.ended, "the bubble would not have ended with its goroutine, and nobody looks at its result")
}

func TestStepsAreSpansUnlessTheyAreQuiet(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	for _, quiet := range []bool{false, true} {
		tk := &tank{wanted: 1, quiet: quiet}
		running(t, tk, func(t *testing.T, _ *prometheus.Registry, _ <-chan struct{}) { requireLevel(t, tk, 1) })
	}
	ended := spans.Ended()
	require.Len(t, ended, 1)
	assert.Equal(t, "tank fill", ended[0].Name())
}
