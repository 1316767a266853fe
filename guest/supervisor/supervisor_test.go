package supervisor_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
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

const boot = "boot"

// runtime is a Runtime whose attempts end when a test, or a signal that they heed, says so.
type runtime struct {
	mu       sync.Mutex // guards all below
	attempts []*task
	fail     error
	hang     bool
	probes   []time.Time
	probe    func(wire.Probe) probe.Outcome
	hooks    []string
	hook     func(ctx context.Context, name string) error
}

type task struct {
	supervisor.Attempt
	started time.Time
	done    chan struct{}
	result  supervisor.Result

	mu      sync.Mutex // guards what follows
	heeds   map[syscall.Signal]bool
	signals []syscall.Signal
}

func (r *runtime) Start(ctx context.Context, a supervisor.Attempt) (supervisor.Task, error) {
	r.mu.Lock()
	fail, hang := r.fail, r.hang
	r.mu.Unlock()
	if hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	t := &task{
		Attempt: a, started: time.Now(), done: make(chan struct{}),
		heeds: map[syscall.Signal]bool{syscall.SIGTERM: true, syscall.SIGKILL: true},
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attempts = append(r.attempts, t)
	if fail != nil {
		return nil, fail
	}
	return t, nil
}

func (r *runtime) latest() *task {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.attempts) == 0 {
		return nil
	}
	return r.attempts[len(r.attempts)-1]
}

// Probe implements supervisor.Prober.
func (r *runtime) Probe(_ context.Context, p wire.Probe, _ probe.Target) probe.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.probes = append(r.probes, time.Now())
	return r.probe(p)
}

// Hook implements supervisor.Hooks. The hook's name is its command.
func (r *runtime) Hook(ctx context.Context, a wire.Action, _ probe.Target) error {
	r.mu.Lock()
	r.hooks = append(r.hooks, a.Exec[0])
	hook := r.hook
	r.mu.Unlock()
	return hook(ctx, a.Exec[0])
}

// asked is how often a probe was made, ran which hooks ran.
func (r *runtime) asked() int {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.probes)
}

func (r *runtime) ran() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.hooks)
}

// of returns the latest attempt of a container, nil where there was none.
func (r *runtime) of(name string) *task {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range slices.Backward(r.attempts) {
		if t.Container.Name == name {
			return t
		}
	}
	return nil
}

// order is in which order containers were started.
func (r *runtime) order() []string {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	var names []string
	for _, t := range r.attempts {
		names = append(names, t.Container.Name)
	}
	return names
}

func (t *task) end(result supervisor.Result) {
	select {
	case <-t.done:
		return
	default:
	}
	result.FinishedAt = time.Now()
	t.result = result
	close(t.done)
}

func (t *task) Signal(sig syscall.Signal) error {
	t.mu.Lock()
	t.signals = append(t.signals, sig)
	heeds := t.heeds[sig]
	t.mu.Unlock()
	if heeds {
		t.end(supervisor.Result{ExitCode: 128 + int32(sig), Signal: sig})
	}
	return nil
}

func (t *task) ignoreTerm() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heeds[syscall.SIGTERM] = false
}

// sent are the signals that the task got so far.
func (t *task) sent() []syscall.Signal {
	synctest.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.signals)
}

func (t *task) Exec(context.Context, []string, time.Duration) (int32, []byte, error) {
	panic("probes and hooks are scripts")
}

func (t *task) Done() <-chan struct{}     { return t.done }
func (t *task) Result() supervisor.Result { return t.result }
func (t *task) LogBytes() int64           { return 42 }

func pod(policy string, names ...string) wire.Pod {
	p := wire.Pod{UID: "uid", Namespace: "ns", Name: "pod", RestartPolicy: policy}
	for _, n := range names {
		p.Containers = append(p.Containers, wire.Seed{Name: n})
	}
	return p
}

func spec(name string) wire.Container {
	return wire.Container{Name: name, Args: []string{"run"}, Disks: []string{"disk"}}
}

// unconfigured returns a supervisor that waits for its pod, and its runtime, whose probes and hooks do what a test says.
func unconfigured() (*supervisor.Supervisor, *runtime) {
	r := &runtime{}
	s := supervisor.New(supervisor.Config{Runtime: r, Prober: r, Hooks: r})
	s.NameBoot(boot)
	return s, r
}

func begin(t *testing.T, p wire.Pod) (*supervisor.Supervisor, *runtime) {
	t.Helper()
	s, r := unconfigured()
	require.NoError(t, s.Configure(p, nil))
	return s, r
}

func run(t *testing.T, s *supervisor.Supervisor, name string) {
	t.Helper()
	require.NoError(t, s.Run(t.Context(), spec(name)))
	synctest.Wait()
}

func snapshot(t *testing.T, s *supervisor.Supervisor) wire.Snapshot {
	t.Helper()
	synctest.Wait()
	b, err := s.Snapshot(t.Context(), supervisor.Query{})
	require.NoError(t, err)
	var got wire.Snapshot
	require.NoError(t, json.Unmarshal(b, &got))
	return got
}

func status(t *testing.T, s *supervisor.Supervisor, name string) wire.ContainerStatus {
	t.Helper()
	snap := snapshot(t, s)
	st, ok := snap.Container(name)
	require.True(t, ok)
	return st
}

func TestRestartsFollowThePolicy(t *testing.T) {
	tests := map[string]struct {
		policy   string
		code     int32
		restarts bool
	}{
		"Always restarts a success":        {"Always", 0, true},
		"Always restarts a failure":        {"Always", 1, true},
		"OnFailure restarts a failure":     {"OnFailure", 1, true},
		"OnFailure leaves a success alone": {"OnFailure", 0, false},
		"Never leaves a failure alone":     {"Never", 1, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := begin(t, pod(tt.policy, "app"))
				run(t, s, "app")
				r.latest().end(supervisor.Result{ExitCode: tt.code})
				st := status(t, s, "app")
				if tt.restarts {
					assert.Equal(t, wire.ContainerRunning, st.State)
					assert.Equal(t, tt.code, st.Last.ExitCode)
					assert.Equal(t, int32(1), st.RestartCount)
				} else {
					assert.Equal(t, wire.ContainerTerminated, st.State)
					assert.Equal(t, tt.code, st.Current.ExitCode)
					assert.True(t, st.Final)
					assert.Equal(t, wire.PhaseDone, snapshot(t, s).Phase)
				}
				s.Stop(wire.Stop{})
				synctest.Wait()
			})
		})
	}
}

func TestBackoffGrowsAsTheKubeletsDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Always", "app"))
		run(t, s, "app")
		for i, want := range []time.Duration{0, 10, 20, 40, 80, 160, 300, 300} {
			want *= time.Second
			ended := time.Now()
			r.latest().end(supervisor.Result{ExitCode: 1})
			if want > 0 {
				st := status(t, s, "app")
				assert.Equal(t, wire.ReasonCrashLoopBackOff, st.Reason)
				assert.Equal(t, fmt.Sprintf("back-off %s restarting failed container=app pod=pod_ns(uid)", want), st.Message)
				assert.Equal(t, want, st.NextStart.Sub(ended))
				assert.Equal(t, int32(i), st.RestartCount)
				<-time.After(want)
			}
			assert.Equal(t, want, r.latest().started.Sub(ended), "restart %d", i+1)
			assert.Equal(t, int32(i+1), r.latest().Number)
		}
		s.Stop(wire.Stop{})
		synctest.Wait()
	})
}

func TestARestartIsReportedInOneStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Always", "app"))
		run(t, s, "app")
		r.latest().end(supervisor.Result{ExitCode: 1})
		r.latest().end(supervisor.Result{ExitCode: 1})
		before := snapshot(t, s)
		r.mu.Lock()
		r.hang = true
		r.mu.Unlock()
		<-time.After(10 * time.Second)
		after := snapshot(t, s)
		require.Equal(t, before.Generation+1, after.Generation, "nobody sees the next count with this back-off")
		st, _ := after.Container("app")
		assert.Equal(t, wire.ReasonContainerCreating, st.Reason)
		assert.Equal(t, int32(2), st.RestartCount)
		s.Stop(wire.Stop{})
		synctest.Wait()
	})
}

func TestALongRunResetsTheBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Always", "app"))
		run(t, s, "app")
		r.latest().end(supervisor.Result{ExitCode: 1})
		r.latest().end(supervisor.Result{ExitCode: 1})
		<-time.After(10 * time.Second)
		r.latest()
		<-time.After(10*time.Minute + time.Second)
		ended := time.Now()
		r.latest().end(supervisor.Result{ExitCode: 1})
		assert.Equal(t, ended, r.latest().started, "as after a first failure")
		s.Stop(wire.Stop{})
		synctest.Wait()
	})
}

func TestAStartThatFailsIsAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Always", "app"))
		r.fail = errors.New("exec: \"nosuch\": not found")
		run(t, s, "app")
		st := status(t, s, "app")
		assert.Equal(t, int32(1), st.RestartCount)
		assert.Equal(t, wire.ReasonCrashLoopBackOff, st.Reason)
		assert.Equal(t, wire.ReasonStartError, st.Last.Reason)
		assert.Equal(t, int32(128), st.Last.ExitCode)
		assert.Contains(t, st.Last.Message, "nosuch")
		var failed int
		for _, e := range snapshot(t, s).Events {
			if e.Reason == "Failed" && e.Warning && strings.HasPrefix(e.Message, "Error: exec: ") {
				failed++
			}
		}
		assert.Equal(t, 1, failed, "the second says no more than the first")
		s.Stop(wire.Stop{})
		synctest.Wait()
	})
}

func TestStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Always", "good", "stubborn", "crashing", "unknown"))
		run(t, s, "good")
		good := r.latest()
		run(t, s, "stubborn")
		stubborn := r.latest()
		stubborn.ignoreTerm()
		run(t, s, "crashing")
		r.latest().end(supervisor.Result{ExitCode: 1})
		r.latest().end(supervisor.Result{ExitCode: 2})

		began := time.Now()
		s.Stop(wire.Stop{Grace: time.Hour, Reason: "deleted"})
		snap := snapshot(t, s)
		assert.Equal(t, wire.PhaseStopping, snap.Phase)
		assert.Equal(t, "deleted", snap.StopReason)
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM}, good.sent())
		assert.Equal(t, int32(143), status(t, s, "good").Current.ExitCode)
		crashing := status(t, s, "crashing")
		assert.True(t, crashing.Final)
		assert.Equal(t, int32(2), crashing.Current.ExitCode)
		unknown := status(t, s, "unknown")
		assert.True(t, unknown.Final)
		assert.Equal(t, wire.ContainerWaiting, unknown.State)

		<-time.After(time.Minute)
		s.Stop(wire.Stop{Grace: 2 * time.Hour})
		s.Stop(wire.Stop{Grace: time.Second})
		require.NoError(t, s.Done(t.Context()))
		assert.Equal(t, time.Minute+time.Second, time.Since(began), "the shortest grace holds")
		assert.Equal(t, []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}, stubborn.sent())
		assert.Equal(t, int32(137), status(t, s, "stubborn").Current.ExitCode)
	})
}

func TestStopEndsAStartThatWaitsForItsDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Always", "app"))
		r.hang = true
		run(t, s, "app")
		s.Stop(wire.Stop{Grace: time.Hour})
		require.NoError(t, s.Done(t.Context()))
		st := status(t, s, "app")
		assert.True(t, st.Final)
		assert.Equal(t, wire.ContainerWaiting, st.State)
	})
}

func TestStopBeforeAPodIsThere(t *testing.T) {
	s, _ := unconfigured()
	s.Stop(wire.Stop{})
	require.NoError(t, s.Done(t.Context()))
	require.ErrorIs(t, s.Configure(pod("Always", "app"), nil), supervisor.ErrConflict)
}

func TestSeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := &wire.Terminated{ExitCode: 3, Attempt: 4}
		p := pod("Always", "final", "next")
		p.Containers[0] = wire.Seed{Name: "final", RestartCount: 4, Last: last, Final: true}
		p.Containers[1] = wire.Seed{
			Name: "next", RestartCount: 5, Last: last,
			Backoff: 40 * time.Second, NotBefore: time.Now().Add(30 * time.Second),
		}
		s, r := begin(t, p)
		run(t, s, "final")
		run(t, s, "next")
		assert.Nil(t, r.latest())
		assert.Equal(t, last, status(t, s, "final").Last)
		assert.True(t, status(t, s, "final").Final)
		next := status(t, s, "next")
		assert.Equal(t, wire.ReasonCrashLoopBackOff, next.Reason)
		assert.Contains(t, next.Message, "back-off 40s ")
		<-time.After(30 * time.Second)
		require.Equal(t, int32(5), r.latest().Number)
		assert.Equal(t, last, status(t, s, "next").Last)
		r.latest().end(supervisor.Result{ExitCode: 1})
		assert.Equal(t, 80*time.Second, status(t, s, "next").Backoff)
		s.Stop(wire.Stop{})
		synctest.Wait()
	})
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Never", "app"))
		run(t, s, "app")
		run(t, s, "app")
		assert.Len(t, r.attempts, 1)
		other := spec("app")
		other.Args = []string{"other"}
		require.ErrorIs(t, s.Run(t.Context(), other), supervisor.ErrConflict)
		require.ErrorIs(t, s.Run(t.Context(), spec("absent")), supervisor.ErrNotFound)
		for _, sig := range []string{"SIGNONE", "SIGRTMIN-1", "SIGRTMAX+1", "SIGRTMIN+31", "0", "65"} {
			bad := spec("app")
			bad.StopSignal = sig
			require.ErrorIs(t, s.Run(t.Context(), bad), supervisor.ErrInvalid, sig)
		}
		bad := spec("app")
		bad.RestartPolicy = "Sometimes"
		require.ErrorIs(t, s.Run(t.Context(), bad), supervisor.ErrInvalid)
		s.Stop(wire.Stop{})
		synctest.Wait()
	})
}

func TestStopSignal(t *testing.T) {
	for name, want := range map[string]syscall.Signal{
		"": 15, "SIGINT": 2, "quit": 3, "9": 9, "SIGRTMIN+3": 37, "SIGRTMIN": 34, "SIGRTMAX": 64, "RTMAX-1": 63,
	} {
		t.Run("is "+name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, r := begin(t, pod("Never", "app"))
				c := spec("app")
				c.StopSignal = name
				require.NoError(t, s.Run(t.Context(), c))
				running := r.latest()
				s.Stop(wire.Stop{Grace: time.Second})
				require.NoError(t, s.Done(t.Context()))
				require.Equal(t, want, running.sent()[0])
			})
		})
	}
}

func TestSnapshotWaitsForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Never", "app"))
		snap := snapshot(t, s)
		began := time.Now()
		_, err := s.Snapshot(t.Context(), supervisor.Query{BootID: boot, After: snap.Generation})
		require.NoError(t, err)
		require.Equal(t, wire.SnapshotWait, time.Since(began))

		got := make(chan wire.Snapshot)
		go func() {
			b, _ := s.Snapshot(t.Context(), supervisor.Query{BootID: boot, After: snap.Generation})
			var next wire.Snapshot
			_ = json.Unmarshal(b, &next)
			got <- next
		}()
		synctest.Wait()
		require.NoError(t, s.Run(t.Context(), spec("app")))
		next := <-got
		require.Greater(t, next.Generation, snap.Generation)

		began = time.Now()
		_, err = s.Snapshot(t.Context(), supervisor.Query{BootID: "another", After: snapshot(t, s).Generation})
		require.NoError(t, err)
		require.Zero(t, time.Since(began), "a host of another boot does not wait")
		r.latest().end(supervisor.Result{})
	})
}

func TestEventsAreKeptUntilAcknowledged(t *testing.T) {
	s, _ := unconfigured()
	for i := range wire.MaxEvents + 10 {
		s.Event(wire.Event{Message: strconv.Itoa(i)})
	}
	got := snapshotOf(t, s, supervisor.Query{})
	require.Len(t, got.Events, wire.MaxEvents)
	require.Equal(t, uint64(10), got.EventsDropped)
	require.Equal(t, uint64(11), got.Events[0].Seq)

	got = snapshotOf(t, s, supervisor.Query{BootID: boot, Ack: 200})
	require.Equal(t, uint64(201), got.Events[0].Seq)
	got = snapshotOf(t, s, supervisor.Query{BootID: "another", Ack: 1000})
	require.NotEmpty(t, got.Events)
}

func TestAnEventThatComesAgainIsTheNewest(t *testing.T) {
	s, _ := unconfigured()
	for _, e := range []wire.Event{
		{Reason: "A", Message: "one"},
		{Reason: "A", Message: "two"},
		{Reason: "A", Message: "one", Container: "app"},
		{Reason: "B", Message: "one"},
		{Reason: "A", Message: "one", Warning: true},
	} {
		s.Event(e)
	}
	first := snapshotOf(t, s, supervisor.Query{})
	require.Len(t, first.Events, 5, "they differ")
	for range 2 * wire.MaxEvents {
		s.Event(wire.Event{Reason: "A", Message: "one"})
	}
	got := snapshotOf(t, s, supervisor.Query{})
	require.Len(t, got.Events, 5)
	require.Zero(t, got.EventsDropped)
	require.Equal(t, "two", got.Events[0].Message)
	require.Equal(t, uint64(5+2*wire.MaxEvents), got.Events[4].Seq)
	got = snapshotOf(t, s, supervisor.Query{BootID: boot, Ack: first.Events[4].Seq})
	require.Len(t, got.Events, 1, "who acknowledged the former does not know of the latest")
}

func snapshotOf(t *testing.T, s *supervisor.Supervisor, q supervisor.Query) wire.Snapshot {
	t.Helper()
	b, err := s.Snapshot(t.Context(), q)
	require.NoError(t, err)
	var got wire.Snapshot
	require.NoError(t, json.Unmarshal(b, &got))
	return got
}

func TestASnapshotIsBounded(t *testing.T) {
	long := strings.Repeat("\x01", wire.MaxMessageBytes)
	p := pod("Never")
	name := func(i int) string { return fmt.Sprintf("c%062d", i) }
	for i := range wire.MaxContainers {
		end := &wire.Terminated{
			ID: strings.Repeat("f", 64), ExitCode: 255, Signal: 64, Reason: wire.ReasonOOMKilled, Message: long,
			StartedAt: time.Now(), FinishedAt: time.Now(), Attempt: math.MaxInt32, LogBytes: math.MaxInt64,
		}
		p.Containers = append(p.Containers, wire.Seed{
			Name: name(i), Final: true, Last: end, RestartCount: math.MaxInt32, Backoff: math.MaxInt64,
		})
	}
	s, _ := unconfigured()
	for i := range wire.MaxEvents {
		s.Event(wire.Event{Container: name(i), Reason: wire.ReasonCrashLoopBackOff, Message: long})
	}
	require.NoError(t, s.Configure(p, nil))
	for i := range wire.MaxContainers {
		c := spec(name(i))
		c.Revision = strings.Repeat("r", wire.MaxRevisionBytes)
		require.NoError(t, s.Run(t.Context(), c))
	}
	s.Stop(wire.Stop{Reason: long})
	b, err := s.Snapshot(t.Context(), supervisor.Query{})
	require.NoError(t, err)
	require.LessOrEqual(t, len(b), wire.MaxSnapshotBytes)
}

func TestOOMKilledIsTheReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := begin(t, pod("Never", "app"))
		run(t, s, "app")
		r.latest().end(supervisor.Result{ExitCode: 137, Signal: syscall.SIGKILL, OOMKilled: true})
		assert.Equal(t, wire.ReasonOOMKilled, status(t, s, "app").Current.Reason)
	})
}

func TestConfigureRefuses(t *testing.T) {
	twice := pod("Never", "a", "a")
	many := pod("Never")
	for i := range wire.MaxContainers + 1 {
		many.Containers = append(many.Containers, wire.Seed{Name: fmt.Sprintf("c%d", i)})
	}
	for name, p := range map[string]wire.Pod{
		"an unknown restart policy":  pod("Sometimes", "a"),
		"a name that is a path":      pod("Never", "../a"),
		"two containers of one name": twice,
		"an unknown role":            {RestartPolicy: "Never", Containers: []wire.Seed{{Name: "a", Role: "boss"}}},
		"too many containers":        many,
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := unconfigured()
			require.ErrorIs(t, s.Configure(p, nil), supervisor.ErrInvalid)
		})
	}
}
