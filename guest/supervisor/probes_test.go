package supervisor_test

import (
	"errors"
	"strconv"
	"strings"
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
	well = probe.Outcome{Result: probe.Success}
	ill  = probe.Outcome{Result: probe.Failure, Output: "no"}
)

// answers makes every probe of a runtime answer o.
func (r *runtime) answers(o probe.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probe = func(wire.Probe) probe.Outcome { return o }
}

func every(period time.Duration, failures int32) *wire.Probe {
	return &wire.Probe{
		Action: wire.Action{Exec: []string{"x"}}, Period: period, Timeout: time.Second, SuccessThreshold: 1, FailureThreshold: failures,
	}
}

// probed runs one container of a pod whose probes answer o.
func probed(t *testing.T, policy string, o probe.Outcome, change func(*wire.Container)) (*supervisor.Supervisor, *runtime) {
	t.Helper()
	p := pod(policy, "app")
	p.Grace = grace
	s, r := begin(t, p)
	r.answers(o)
	c := spec("app")
	change(&c)
	require.NoError(t, s.Run(t.Context(), c))
	synctest.Wait()
	return s, r
}

func messages(t *testing.T, s *supervisor.Supervisor, reason string) []string {
	t.Helper()
	var all []string
	for _, e := range snapshot(t, s).Events {
		if e.Reason == reason {
			all = append(all, e.Message)
		}
	}
	return all
}

func TestAProbeThatFailsAgainAndAgainPushesOutNoEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		s, r := probed(t, "Always", ill, func(c *wire.Container) { c.ReadinessProbe = every(time.Second, 3) })
		r.mu.Lock()
		r.probe = func(wire.Probe) probe.Outcome {
			asked++
			return probe.Outcome{Result: probe.Failure, Output: strconv.Itoa(asked)}
		}
		r.mu.Unlock()
		<-time.After(2 * wire.MaxEvents * time.Second)
		got := snapshot(t, s)
		assert.Zero(t, got.EventsDropped)
		assert.Len(t, got.Events, 3, "Created, Started, and the latest failure")
		r.mu.Lock()
		assert.Equal(t, "Readiness probe failed: "+strconv.Itoa(asked), got.Events[2].Message)
		r.mu.Unlock()
		s.Stop(wire.Stop{})
	})
}

func TestReadinessFollowsItsProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := probed(t, "Always", ill, func(c *wire.Container) {
			c.ReadinessProbe = every(10*time.Second, 3)
			c.ReadinessProbe.InitialDelay = 5 * time.Second
			c.ReadinessProbe.SuccessThreshold = 2
		})
		assert.Zero(t, r.asked(), "there is a delay")
		<-time.After(6 * time.Second)
		assert.Equal(t, 1, r.asked())
		st := status(t, s, "app")
		assert.True(t, st.Started)
		assert.False(t, st.Ready)
		assert.Equal(t, []string{"Readiness probe failed: no"}, messages(t, s, "Unhealthy"))
		r.answers(well)
		<-time.After(10 * time.Second)
		assert.False(t, status(t, s, "app").Ready, "once is not enough")
		<-time.After(10 * time.Second)
		assert.True(t, status(t, s, "app").Ready)
		r.answers(ill)
		<-time.After(20 * time.Second)
		assert.True(t, status(t, s, "app").Ready)
		<-time.After(10 * time.Second)
		assert.False(t, status(t, s, "app").Ready, "three times is too often")
		r.answers(well)
		<-time.After(20 * time.Second)
		assert.True(t, status(t, s, "app").Ready)
		r.latest().end(supervisor.Result{ExitCode: 1})
		assert.False(t, status(t, s, "app").Ready, "another process has yet to answer")
		stop(s)
	})
}

func TestAContainerThatIsNotAliveIsKilledAndRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := probed(t, "OnFailure", ill, func(c *wire.Container) {
			c.LivenessProbe = every(10*time.Second, 3)
			c.LivenessProbe.Grace = new(5 * time.Second)
		})
		first := r.latest()
		first.ignoreTerm()
		<-time.After(20*time.Second + time.Millisecond)
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, first.sent())
		assert.Equal(t, []string{"Container app failed liveness probe, will be restarted"}, messages(t, s, "Killing"))
		probes := r.asked()
		<-time.After(5 * time.Second)
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, first.sent(), "by the probe's own grace period")
		assert.Equal(t, probes+1, r.asked(), "which no probe disturbs, but the new process has one")
		assert.Equal(t, int32(1), r.latest().Number)
		<-time.After(20 * time.Second)
		assert.Equal(t, int32(2), r.latest().Number, "the kubelet looks at the end before this one: it is ten seconds ago")
		stop(s)
	})
}

func TestAContainerThatAnswersTheSignalWellHasFailedItsProbeAllTheSame(t *testing.T) {
	for policy, restarted := range map[string]bool{"OnFailure": true, "Never": false} {
		t.Run(policy, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := probed(t, policy, well, func(c *wire.Container) { c.LivenessProbe = every(10*time.Second, 1) })
				first := r.latest()
				first.ignoreTerm()
				r.answers(ill)
				<-time.After(11 * time.Second)
				first.end(supervisor.Result{})
				assert.Equal(t, restarted, r.latest() != first)
				want := "Container app failed liveness probe"
				if restarted {
					want += ", will be restarted"
				}
				assert.Equal(t, want, messages(t, s, "Killing")[0])
				stop(s)
			})
		})
	}
}

func TestAStartupProbeComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := probed(t, "Always", ill, func(c *wire.Container) {
			c.StartupProbe = every(time.Second, 30)
			c.LivenessProbe = every(time.Minute, 1)
			c.ReadinessProbe = every(time.Minute, 1)
		})
		<-time.After(10 * time.Second)
		assert.False(t, status(t, s, "app").Started)
		for _, m := range messages(t, s, "Unhealthy") {
			assert.True(t, strings.HasPrefix(m, "Startup probe failed: "), m)
		}
		r.answers(well)
		<-time.After(1100 * time.Millisecond)
		st := status(t, s, "app")
		assert.True(t, st.Started)
		assert.True(t, st.Ready, "readiness is asked at once")
		asked := r.asked()
		<-time.After(10 * time.Second)
		assert.Equal(t, asked, r.asked(), "nobody asks for startup any more")
		stop(s)
	})
}

func TestAContainerThatNeverStartsUpIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := probed(t, "Never", ill, func(c *wire.Container) { c.StartupProbe = every(time.Second, 3) })
		<-time.After(10 * time.Second)
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, r.latest().sent())
		assert.Equal(t, []string{"Container app failed startup probe"}, messages(t, s, "Killing"))
		assert.Equal(t, wire.PhaseDone, snapshot(t, s).Phase)
	})
}

func TestASidecarLetsTheNextOneStartWhenItHasStartedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := podOf("Never")
		p.Containers = p.Containers[1:]
		s, r := begin(t, p)
		r.answers(ill)
		side := spec("side1")
		side.StartupProbe = every(time.Second, 1000)
		require.NoError(t, s.Run(t.Context(), side))
		run(t, s, "init2")
		assert.Nil(t, r.of("init2"))
		r.answers(well)
		<-time.After(2 * time.Second)
		assert.NotNil(t, r.of("init2"))
		stop(s)
	})
}

func TestAProbeThatCannotBeAskedSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := probe.Outcome{Result: probe.Unknown, Err: errors.New("no such command")}
		s, r := probed(t, "Always", broken, func(c *wire.Container) { c.LivenessProbe = every(10*time.Second, 1) })
		assert.Equal(t, 3, r.asked(), "it is tried again at once")
		<-time.After(time.Minute)
		assert.Empty(t, r.latest().sent())
		assert.Equal(t, "Liveness probe errored and resulted in unknown state: no such command", messages(t, s, "Unhealthy")[0])
		r.answers(probe.Outcome{Result: probe.Warning, Output: "elsewhere"})
		<-time.After(10 * time.Second)
		assert.Equal(t, []string{"Liveness probe warning: elsewhere"}, messages(t, s, "ProbeWarning"))
		stop(s)
	})
}

func TestAPodThatEndsIsAskedOnlyForItsReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := probed(t, "Always", well, func(c *wire.Container) {
			c.LivenessProbe, c.ReadinessProbe = every(time.Second, 1), every(time.Second, 1)
		})
		app := r.latest()
		app.ignoreTerm()
		s.Stop(wire.Stop{Grace: 10 * time.Second})
		r.answers(ill)
		<-time.After(5 * time.Second)
		assert.False(t, status(t, s, "app").Ready)
		assert.Len(t, messages(t, s, "Killing"), 1)
		require.NoError(t, s.Done(t.Context()))
	})
}
