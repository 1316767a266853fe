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

const grace = 30 * time.Second

// podOf has an init container, a sidecar, another init container, another sidecar, and two apps.
func podOf(policy string) wire.Pod {
	return wire.Pod{
		UID: "uid", Namespace: "ns", Name: "pod", RestartPolicy: policy, Grace: grace,
		Containers: []wire.Seed{
			{Name: "init1", Role: wire.RoleInit},
			{Name: "side1", Role: wire.RoleSidecar},
			{Name: "init2", Role: wire.RoleInit},
			{Name: "side2", Role: wire.RoleSidecar},
			{Name: "app1"},
			{Name: "app2"},
		},
	}
}

// runAll runs all containers, the last ones first.
func runAll(t *testing.T, s *supervisor.Supervisor, p wire.Pod) {
	t.Helper()
	for i := range p.Containers {
		run(t, s, p.Containers[len(p.Containers)-1-i].Name)
	}
}

// initialized brings a pod to where its apps run.
func initialized(t *testing.T, policy string) (*supervisor.Supervisor, *runtime) {
	t.Helper()
	p := podOf(policy)
	s, r := begin(t, p)
	runAll(t, s, p)
	r.of("init1").end(supervisor.Result{})
	r.of("init2").end(supervisor.Result{})
	require.NotNil(t, r.of("app1"))
	require.NotNil(t, r.of("app2"))
	return s, r
}

func stop(s *supervisor.Supervisor) {
	s.Stop(wire.Stop{})
	synctest.Wait()
	<-time.After(time.Minute)
}

func TestContainersStartInTheirOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := podOf("Always")
		s, r := begin(t, p)
		runAll(t, s, p)
		assert.Equal(t, []string{"init1"}, r.order(), "one by one, in whatever order the host sent them")
		for _, name := range []string{"init1", "side1", "app1"} {
			if st := status(t, s, name); st.State == wire.ContainerWaiting {
				assert.Equal(t, wire.ReasonPodInitializing, st.Reason)
			}
		}
		r.of("init1").end(supervisor.Result{})
		assert.Equal(t, []string{"init1", "side1", "init2"}, r.order(), "a sidecar has only to start")
		assert.True(t, status(t, s, "side1").Started)
		done := status(t, s, "init1")
		assert.True(t, done.Final)
		assert.Equal(t, wire.ContainerTerminated, done.State, "an init container that ended well is not restarted, whatever the policy")
		r.of("init2").end(supervisor.Result{})
		assert.Equal(t, []string{"init1", "side1", "init2", "side2"}, r.order()[:4])
		assert.ElementsMatch(t, []string{"app1", "app2"}, r.order()[4:])
		assert.True(t, status(t, s, "app1").Ready)
		assert.Equal(t, wire.PhaseConfigured, snapshot(t, s).Phase)
		stop(s)
	})
}

func TestAnInitContainerThatFailsIsRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := podOf("OnFailure")
		s, r := begin(t, p)
		runAll(t, s, p)
		r.of("init1").end(supervisor.Result{ExitCode: 1})
		r.of("init1").end(supervisor.Result{ExitCode: 1})
		st := status(t, s, "init1")
		assert.Equal(t, wire.ReasonCrashLoopBackOff, st.Reason)
		assert.Equal(t, int32(1), st.RestartCount)
		assert.Nil(t, r.of("side1"))
		<-time.After(10 * time.Second)
		r.of("init1").end(supervisor.Result{})
		assert.NotNil(t, r.of("side1"))
		stop(s)
	})
}

func TestAnInitContainerThatFailsForGoodEndsThePod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := podOf("Never")
		s, r := begin(t, p)
		runAll(t, s, p)
		r.of("init1").end(supervisor.Result{})
		side := r.of("side1")
		r.of("init2").end(supervisor.Result{ExitCode: 4})
		require.NoError(t, s.Done(t.Context()))
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, side.sent())
		app := status(t, s, "app1")
		assert.Equal(t, wire.ContainerWaiting, app.State)
		assert.Equal(t, wire.ReasonPodInitializing, app.Reason)
		assert.True(t, app.Final)
		assert.Equal(t, int32(4), status(t, s, "init2").Current.ExitCode)
		assert.Empty(t, snapshot(t, s).StopReason)
	})
}

func TestSidecarsEndWithTheLastApp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := initialized(t, "OnFailure")
		side1, side2 := r.of("side1"), r.of("side2")
		side2.ignoreTerm()
		r.of("app1").end(supervisor.Result{})
		side1.end(supervisor.Result{})
		assert.NotEqual(t, side1, r.of("side1"), "a sidecar is restarted whatever the policy")
		side1 = r.of("side1")
		assert.Empty(t, side1.sent())

		began := time.Now()
		r.of("app2").end(supervisor.Result{})
		synctest.Wait()
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, side2.sent())
		assert.Empty(t, side1.sent(), "the first one ends last")
		<-time.After(time.Second)
		side2.end(supervisor.Result{ExitCode: 1})
		require.NoError(t, s.Done(t.Context()))
		assert.Equal(t, time.Second, time.Since(began))
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, side1.sent())
		assert.Equal(t, int32(1), status(t, s, "side2").Current.ExitCode, "nothing is restarted in a pod that ends")
		killing := 0
		for _, e := range snapshot(t, s).Events {
			if e.Reason == "Killing" {
				killing++
			}
		}
		assert.Equal(t, 2, killing)
	})
}

func TestSidecarsShareTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := initialized(t, "Always")
		for _, name := range []string{"app1", "side1", "side2"} {
			r.of(name).ignoreTerm()
		}
		began := time.Now()
		s.Stop(wire.Stop{Grace: 10 * time.Second})
		synctest.Wait()
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, r.of("app1").sent())
		assert.Empty(t, r.of("side2").sent())
		<-time.After(10*time.Second + time.Millisecond)
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, r.of("app1").sent())
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, r.of("side2").sent())
		require.NoError(t, s.Done(t.Context()))
		assert.Equal(t, 12*time.Second, time.Since(began), "each has at least two seconds after its signal")
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, r.of("side1").sent())
	})
}

func TestEveryProcessHasTwoSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Never", "app"))
		run(t, s, "app")
		r.latest().ignoreTerm()
		began := time.Now()
		s.Stop(wire.Stop{})
		require.NoError(t, s.Done(t.Context()))
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}

func TestAPodThatEndsByItselfCanBeHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := initialized(t, "Never")
		r.of("side1").ignoreTerm()
		began := time.Now()
		r.of("app1").end(supervisor.Result{})
		r.of("app2").end(supervisor.Result{})
		<-time.After(5 * time.Second)
		s.Stop(wire.Stop{Reason: "deleted"})
		require.NoError(t, s.Done(t.Context()))
		assert.Equal(t, 5*time.Second, time.Since(began))
		assert.Empty(t, snapshot(t, s).StopReason, "its end had another reason")
	})
}

func TestSeedsOfInitContainers(t *testing.T) {
	well, ill := &wire.Terminated{}, &wire.Terminated{ExitCode: 1}
	p := podOf("Never")
	p.Containers[0].Final, p.Containers[0].Last = true, well
	t.Run("one that ended well is passed over", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s, r := begin(t, p)
			runAll(t, s, p)
			assert.Equal(t, []string{"side1", "init2"}, r.order())
			stop(s)
		})
	})
	t.Run("one that failed for good ends the pod", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			p := podOf("Never")
			p.Containers[0].Final, p.Containers[0].Last = true, ill
			s, r := begin(t, p)
			require.NoError(t, s.Done(t.Context()))
			runAll(t, s, p)
			assert.Empty(t, r.order())
		})
	})
}

func TestAnAppWaitsForThePostStartHookOfTheOneBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Never", "first", "second"))
		first := spec("first")
		first.PostStart = &wire.Action{Exec: []string{"x"}}
		r.hang = true
		require.NoError(t, s.Run(t.Context(), first))
		run(t, s, "second")
		assert.Empty(t, r.order())
		stop(s)
	})
}
