package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/probe"
	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/wire"
)

var (
	onStart = &wire.Action{Exec: []string{"start"}}
	onStop  = &wire.Action{Exec: []string{"stop"}}
)

// takes makes every hook take that long and end like err.
func (r *runtime) takes(d time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hook = func(ctx context.Context, _ string) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// hooked runs one container of a pod whose hooks take d and end like err.
func hooked(t *testing.T, d time.Duration, err error, change func(*wire.Container)) (*supervisor.Supervisor, *runtime) {
	t.Helper()
	p := pod("Always", "app")
	p.Grace = grace
	s, r := begin(t, p)
	r.takes(d, err)
	c := spec("app")
	change(&c)
	require.NoError(t, s.Run(t.Context(), c))
	synctest.Wait()
	return s, r
}

func withPostStart(c *wire.Container) { c.PostStart = onStart }
func withPreStop(c *wire.Container)   { c.PreStop = onStop }

func TestAContainerRunsWhenItsPostStartHookHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := hooked(t, 5*time.Second, nil, withPostStart)
		require.NotNil(t, r.latest())
		assert.Len(t, messages(t, s, "Started"), 1)
		assert.Equal(t, wire.ContainerWaiting, status(t, s, "app").State)
		<-time.After(6 * time.Second)
		st := status(t, s, "app")
		assert.Equal(t, wire.ContainerRunning, st.State)
		assert.True(t, st.Ready)
		stop(s)
	})
}

func TestAContainerWhosePostStartHookFailsIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := hooked(t, time.Second, errors.New("secret"), withPostStart)
		first := r.latest()
		<-time.After(1500 * time.Millisecond) // the second attempt's hook fails half a second later
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, first.sent())
		assert.Equal(t, []string{"PostStartHook failed"}, messages(t, s, "FailedPostStartHook"), "the cause may be a secret")
		assert.Equal(t, []string{"FailedPostStartHook"}, messages(t, s, "Killing"))
		assert.NotEqual(t, first, r.latest())
		<-time.After(time.Second)
		assert.Equal(t, wire.ReasonCrashLoopBackOff, status(t, s, "app").Reason)
		stop(s)
	})
}

func TestWhatCutsAPostStartHookShort(t *testing.T) {
	t.Run("the end of the process", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := hooked(t, time.Hour, nil, withPostStart)
			r.latest().end(supervisor.Result{ExitCode: 9})
			assert.Equal(t, int32(9), status(t, s, "app").Last.ExitCode)
			assert.Empty(t, messages(t, s, "FailedPostStartHook"))
			stop(s)
		})
	})
	t.Run("the end of the pod", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := hooked(t, time.Hour, nil, withPostStart)
			s.Stop(wire.Stop{Grace: time.Minute})
			require.NoError(t, s.Done(t.Context()))
			assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, r.latest().sent())
			assert.Len(t, messages(t, s, "Killing"), 1)
		})
	})
}

func TestPreStopComesBeforeTheSignalAndWithinTheGracePeriod(t *testing.T) {
	tests := map[string]struct {
		takes, grace, signal time.Duration
	}{
		"a short hook":               {3 * time.Second, 10 * time.Second, 3 * time.Second},
		"a hook that is too long":    {time.Hour, 10 * time.Second, 10 * time.Second},
		"no time for a hook at all":  {3 * time.Second, 0, 0},
		"a hook of the whole period": {10 * time.Second, 10 * time.Second, 10 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := hooked(t, tt.takes, nil, withPreStop)
				app := r.latest()
				app.ignoreTerm()
				began := time.Now()
				s.Stop(wire.Stop{Grace: tt.grace})
				<-time.After(tt.signal + time.Millisecond)
				assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, app.sent())
				require.NoError(t, s.Done(t.Context()))
				assert.Equal(t, max(tt.grace, tt.signal+2*time.Second), time.Since(began))
				assert.Len(t, r.ran(), min(1, int(tt.grace)))
			})
		})
	}
}

func TestAPreStopHookThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := hooked(t, time.Second, errors.New("secret"), withPreStop)
		s.Stop(wire.Stop{Grace: time.Minute})
		require.NoError(t, s.Done(t.Context()))
		assert.Equal(t, []string{"PreStopHook failed"}, messages(t, s, "FailedPreStopHook"))
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, r.latest().sent(), "the container ends all the same")
	})
}

func TestAHookThatIsAnsweredInPlainHTTPIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := hooked(t, 0, fmt.Errorf("ask: %w", probe.ErrPlain), withPostStart)
		assert.Equal(t, wire.ContainerRunning, status(t, s, "app").State)
		assert.Len(t, messages(t, s, "LifecycleHTTPFallback"), 1)
		stop(s)
	})
}
