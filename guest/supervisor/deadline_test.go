package supervisor_test

import (
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/supervisor"
	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestAPodEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pod("Always", "app")
		p.Deadline, p.Grace = time.Now().Add(time.Minute), 10*time.Second
		s, r := begin(t, p)
		run(t, s, "app")
		r.latest().ignoreTerm()
		<-time.After(59 * time.Second)
		assert.Equal(t, wire.PhaseConfigured, snapshot(t, s).Phase)
		<-time.After(time.Second)
		assert.Equal(t, wire.PhaseStopping, snapshot(t, s).Phase)
		<-time.After(10 * time.Second)
		got := snapshot(t, s)
		assert.Equal(t, wire.PhaseDone, got.Phase, "after its grace period")
		assert.Equal(t, wire.StopReasonDeadline, got.StopReason)
		assert.Equal(t, int32(syscall.SIGKILL), got.Containers[0].Current.Signal)
	})
}

func TestADeadlineChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pod("Always", "app")
		s, r := begin(t, p)
		run(t, s, "app")
		s.SetDeadline(time.Now().Add(time.Hour))
		s.SetDeadline(time.Now().Add(time.Minute))
		s.ClockSet() // nothing changes where the clock says what it said
		<-time.After(59 * time.Second)
		assert.Equal(t, wire.PhaseConfigured, snapshot(t, s).Phase)
		s.SetDeadline(time.Time{})
		<-time.After(2 * time.Hour)
		assert.Equal(t, wire.PhaseConfigured, snapshot(t, s).Phase)
		s.SetDeadline(time.Now().Add(-time.Second))
		synctest.Wait()
		assert.Equal(t, wire.StopReasonDeadline, snapshot(t, s).StopReason, "one that is over already")
		require.Equal(t, "app", r.latest().Container.Name)
	})
}

func TestAPodThatEndedBeforeItsDeadlineHasNoReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := pod("Never", "app")
		p.Deadline = time.Now().Add(time.Minute)
		s, r := begin(t, p)
		run(t, s, "app")
		r.latest().end(supervisor.Result{})
		<-time.After(time.Hour)
		got := snapshot(t, s)
		assert.Equal(t, wire.PhaseDone, got.Phase)
		assert.Empty(t, got.StopReason)
	})
}
