package podvm_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/memhv"
)

var errBroken = errors.New("broken")

func TestCommitLeavesNothingWhere(t *testing.T) {
	tests := map[string]struct {
		method string
		cause  error
		calls  []string
	}{
		"a disk has no room":     {"EnsureDisk", portlayer.ErrOutOfSpace, []string{"EnsureDisk"}},
		"a VM cannot be created": {"Create", errBroken, []string{"EnsureDisk", "Create"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			hv := memhv.New(memhv.Config{})
			e := newHost(t, hv, t.TempDir())
			hv.Fail(tt.method, tt.cause)
			h := draft(t, e, "a")
			_, err := e.Commit(t.Context(), h)
			require.ErrorIs(t, err, tt.cause)
			assert.Equal(t, tt.calls, hv.Calls())
			_, err = e.Get(t.Context(), "a")
			require.ErrorIs(t, err, portlayer.ErrNotFound)
			address := h.Spec().NICs[0].Addresses[0]
			e.Discard(h)

			hv.Fail(tt.method, nil)
			vm := commit(t, e, "a")
			assert.Equal(t, address, vm.Spec.NICs[0].Addresses[0])
		})
	}
}

func TestTheEngineRefusesAStaleHandleByItself(t *testing.T) {
	e := newHost(t, memhv.New(memhv.Config{Lax: true}), t.TempDir())
	commit(t, e, "a")
	first, err := e.Open(t.Context(), "a")
	require.NoError(t, err)
	second, err := e.Open(t.Context(), "a")
	require.NoError(t, err)
	_, err = e.Commit(t.Context(), first)
	require.NoError(t, err)
	_, err = e.Commit(t.Context(), second)
	require.ErrorIs(t, err, portlayer.ErrStaleHandle)
}

func TestAChangeFromOutsideMakesAHandleStale(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	e := newHost(t, hv, t.TempDir())
	vm := commit(t, e, "a")
	h, err := e.Open(t.Context(), "a")
	require.NoError(t, err)
	spec := vm.Spec.Clone()
	key, value := podvm.AnnotateContainers("other")
	spec.Annotations[key] = value
	_, err = hv.Update(t.Context(), spec, vm.Version)
	require.NoError(t, err)
	_, err = e.Commit(t.Context(), h)
	require.ErrorIs(t, err, portlayer.ErrStaleHandle)
	h, err = e.Open(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, []string{"other"}, podvm.Containers(h.Spec()))
	_, err = e.Commit(t.Context(), h)
	require.NoError(t, err)
}

func TestCommitsOfOnePodAreOneAtATime(t *testing.T) {
	e := newHost(t, memhv.New(memhv.Config{}), t.TempDir())
	var handles []*portlayer.Handle
	for range 8 {
		handles = append(handles, draft(t, e, "a"))
	}
	committed := make(chan struct{}, len(handles))
	var g errgroup.Group
	for _, h := range handles {
		g.Go(func() error {
			_, err := e.Commit(t.Context(), h)
			if err == nil {
				committed <- struct{}{}
				return nil
			}
			e.Discard(h)
			if errors.Is(err, portlayer.ErrExists) || errors.Is(err, portlayer.ErrStaleHandle) {
				return nil
			}
			return err
		})
	}
	require.NoError(t, g.Wait())
	require.Len(t, committed, 1)
	vms, err := e.List(t.Context())
	require.NoError(t, err)
	require.Len(t, vms, 1)
}

func TestDisksAreNotCollectedUnderACommit(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	e := newHost(t, hv, t.TempDir())
	h := draft(t, e, "a")
	opened, goOn := make(chan struct{}), make(chan struct{})
	slow := source("sha256:slow", "content")
	content := slow.Open
	slow.Open = func() (io.ReadSeekCloser, error) {
		close(opened)
		<-goOn
		return content()
	}
	h.AddImage("slow", slow)
	ended := make(chan error, 1)
	// Ends with the commit.
	go func() {
		_, err := e.Commit(t.Context(), h)
		ended <- err
	}()
	<-opened
	none := func(portlayer.DiskRef) bool { return false }
	require.ErrorIs(t, e.CollectDisks(t.Context(), none), portlayer.ErrBusy)
	close(goOn)
	require.NoError(t, <-ended)
	require.NoError(t, e.CollectDisks(t.Context(), none))
	require.True(t, hv.HasDisk("sha256:slow"))
	require.NoError(t, e.Remove(t.Context(), "a"))
	require.NoError(t, e.CollectDisks(t.Context(), none))
	require.False(t, hv.HasDisk("sha256:slow"))
}

func TestStartSaysWhyItFailed(t *testing.T) {
	t.Run("no memory is left", func(t *testing.T) {
		e := newHost(t, memhv.New(memhv.Config{MemoryBytes: 300 << 20}), t.TempDir())
		commit(t, e, "a")
		commit(t, e, "b")
		require.NoError(t, e.Start(t.Context(), "a"))
		require.ErrorIs(t, e.Start(t.Context(), "b"), portlayer.ErrOutOfMemory)
		require.NoError(t, e.PowerOff(t.Context(), "a"))
		require.NoError(t, e.Start(t.Context(), "b"))
	})
	t.Run("the hypervisor refuses", func(t *testing.T) {
		hv := memhv.New(memhv.Config{})
		e := newHost(t, hv, t.TempDir())
		commit(t, e, "a")
		hv.Fail("PowerOn", &portlayer.PowerError{Reason: "no kernel"})
		var power *portlayer.PowerError
		require.ErrorAs(t, e.Start(t.Context(), "a"), &power)
		require.Equal(t, "no kernel", power.Reason)
	})
	t.Run("the VM ends before its guest greets", func(t *testing.T) {
		hv := memhv.New(memhv.Config{Boot: time.Minute})
		e := newHost(t, hv, t.TempDir())
		commit(t, e, "a")
		ended := make(chan error, 1)
		// Ends when the VM is killed.
		go func() { ended <- e.Start(t.Context(), "a") }()
		await(t, e, "a", func(vm podvm.VM) bool { return vm.State == portlayer.StateRunning })
		hv.Kill("a", "kernel panic")
		var power *portlayer.PowerError
		require.ErrorAs(t, <-ended, &power)
		require.Equal(t, "kernel panic", power.Reason)
		require.Contains(t, power.Console, "boot ")
	})
	t.Run("the VM vanishes before its guest greets", func(t *testing.T) {
		hv := memhv.New(memhv.Config{Boot: time.Minute})
		e := newHost(t, hv, t.TempDir())
		commit(t, e, "a")
		ended := make(chan error, 1)
		// Ends when the VM is gone.
		go func() { ended <- e.Start(t.Context(), "a") }()
		await(t, e, "a", func(vm podvm.VM) bool { return vm.State == portlayer.StateRunning })
		hv.Vanish("a")
		var power *portlayer.PowerError
		require.ErrorAs(t, <-ended, &power)
	})
	t.Run("the guest does not greet in time", func(t *testing.T) {
		hv := memhv.New(memhv.Config{Boot: time.Minute})
		e := newHost(t, hv, t.TempDir())
		commit(t, e, "a")
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := e.Start(ctx, "a")
		require.ErrorIs(t, err, portlayer.ErrGuestUnreachable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var silent *portlayer.SilentBootError
		require.ErrorAs(t, err, &silent)
		require.Contains(t, silent.Console, "boot ")
		vm, err := e.Get(t.Context(), "a")
		require.NoError(t, err)
		assert.True(t, vm.Booting, "nothing runs in it")
		assert.False(t, vm.Greeted)
		e.Close()
		vm, err = newHost(t, hv, t.TempDir()).Get(t.Context(), "a")
		require.NoError(t, err)
		assert.False(t, vm.Booting, "who comes later can't know")
		assert.False(t, vm.Greeted)
	})
}

func TestALinkThatBreaksLosesAndRepeatsNothing(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	e := newHost(t, hv, t.TempDir())
	runPod(t, e, "a", "Never", "sleep 60")
	await(t, e, "a", func(vm podvm.VM) bool {
		if !vm.Current {
			return false
		}
		c, _ := vm.Guest.Container("app")
		return c.State == wire.ContainerRunning
	})
	boot := hv.Guest("a").BootID()
	r, err := e.Logs(t.Context(), "a", "app", podvm.LogOptions{Follow: true})
	require.NoError(t, err)
	var want strings.Builder
	for i := range 40 {
		line := strings.Repeat("x", i*37) + "\n"
		want.WriteString(line)
		hv.Cut("a", i*29)
		require.NoError(t, hv.Guest("a").Log("app", "stdout", line))
	}
	got := make([]byte, want.Len())
	_, err = io.ReadFull(r, got)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	require.Equal(t, want.String(), string(got))
	vm := await(t, e, "a", func(vm podvm.VM) bool { return vm.SilentSince.IsZero() })
	require.Equal(t, boot, vm.Guest.BootID)
	require.Zero(t, vm.Guest.Containers[0].RestartCount)
	var puts []string
	for _, call := range hv.Guest("a").Calls() {
		if strings.HasPrefix(call, "PUT /v1/pod") || strings.HasPrefix(call, "PUT /v1/containers") {
			puts = append(puts, call)
		}
	}
	require.Equal(t, []string{"PUT /v1/pod", "PUT /v1/containers/app"}, puts, "nothing is applied again")
}

func TestCallsGoOnAfterTheLinkBroke(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	e := newHost(t, hv, t.TempDir())
	runPod(t, e, "a", "Never", "sleep 60")
	for range 20 {
		hv.Cut("a", 0)
		require.NoError(t, e.Run(t.Context(), "a", wire.Container{Name: "app"}))
	}
}

func TestASilentGuestIsNoticedAndComesBack(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	e := newImpatientHost(t, hv)
	begin := time.Now()
	runPod(t, e, "a", "Never", "sleep 600")
	runPod(t, e, "b", "Never", "sleep 600")
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	<-ctx.Done()
	answering := func(vm podvm.VM) bool { return vm.SilentSince.IsZero() }
	await(t, e, "a", answering)
	require.Equal(t, 1, hv.Guest("a").Greetings(), "a guest with nothing to say is not silent")

	hv.Silence("a", true)
	vm := await(t, e, "a", func(vm podvm.VM) bool { return !vm.SilentSince.IsZero() })
	since := vm.SilentSince
	assert.WithinRange(t, since, begin, time.Now().Add(-patience), "when it was last heard")
	assert.Equal(t, portlayer.StateRunning, vm.State)
	ctx, cancel = context.WithTimeout(t.Context(), 4*patience) // in which the channel breaks
	defer cancel()
	err := e.Run(ctx, "a", wire.Container{Name: "app"})
	require.ErrorIs(t, err, portlayer.ErrGuestUnreachable)
	vm, err = e.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, since, vm.SilentSince, "it has been silent all the time")
	await(t, e, "b", answering)

	hv.Silence("a", false)
	vm = await(t, e, "a", answering)
	assert.True(t, vm.Current)
	require.NoError(t, e.Run(t.Context(), "a", wire.Container{Name: "app"}))
}

func TestPowerOffCutsASilentGuestWhenItsTimeIsOver(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	e := newHost(t, hv, t.TempDir())
	runPod(t, e, "a", "Never", "sleep 600")
	hv.Silence("a", true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.NoError(t, e.PowerOff(ctx, "a"))
	vm, err := e.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, portlayer.StateStopped, vm.State)
}

func TestVMsOfOtherNodesAreLeftAlone(t *testing.T) {
	hv, dir := memhv.New(memhv.Config{}), t.TempDir()
	id := owner("a")
	id.Node = "other"
	_, err := hv.Create(t.Context(), portlayer.Spec{ID: "a", Owner: id})
	require.NoError(t, err)
	require.NoError(t, hv.PowerOn(t.Context(), "a"))
	e := newHost(t, hv, dir)
	vms, err := e.List(t.Context())
	require.NoError(t, err)
	require.Len(t, vms, 1)
	require.Nil(t, vms[0].Guest)
	conn, err := hv.Dial(t.Context(), "a")
	require.NoError(t, err, "the engine has not taken its channel")
	require.NoError(t, conn.Close())
	hv.Vanish("a")
	require.Eventually(t, func() bool {
		_, err := e.Get(t.Context(), "a")
		return errors.Is(err, portlayer.ErrNotFound)
	}, testTimeout, time.Millisecond, "nothing is kept of it")
}

func TestALyingGuestIsCutDown(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	e := newHost(t, hv, t.TempDir())
	runPod(t, e, "a", "Never", "exit 0")
	await(t, e, "a", func(vm podvm.VM) bool { return vm.Current && vm.Guest.Phase == wire.PhaseDone })
	hv.Guest("a").Spoil(func(s *wire.Snapshot) {
		s.StopReason = strings.Repeat("x", 1<<16)
		s.Containers[0].Current.ExitCode = 70000
		s.Containers = append(s.Containers, wire.ContainerStatus{Name: "other", State: wire.ContainerRunning})
	})
	vm := await(t, e, "a", func(vm podvm.VM) bool { return vm.Guest.StopReason != "" })
	assert.Len(t, vm.Guest.StopReason, wire.MaxMessageBytes)
	assert.Equal(t, int32(255), vm.Guest.Containers[0].Current.ExitCode)
	assert.Len(t, vm.Guest.Containers, 1)
}

func TestEventsGoWhenTheyAreAcknowledged(t *testing.T) {
	hv, dir := memhv.New(memhv.Config{}), t.TempDir()
	e := newHost(t, hv, dir)
	runPod(t, e, "a", "Never", "sleep 60")
	hv.Guest("a").Event("app", "BackOff", "one")
	vm := await(t, e, "a", func(vm podvm.VM) bool { return vm.Guest != nil && len(vm.Guest.Events) == 2 })
	require.NoError(t, e.AckEvents(t.Context(), "a", vm.Guest.BootID, vm.Guest.Events[0].Seq))
	vm, err := e.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Len(t, vm.Guest.Events, 1)
	assert.Equal(t, "BackOff", vm.Guest.Events[0].Reason)
	require.NoError(t, e.AckEvents(t.Context(), "a", "another boot", 99))
	hv.Guest("a").Event("app", "BackOff", "two")
	vm = await(t, e, "a", func(vm podvm.VM) bool {
		return len(vm.Guest.Events) > 0 && vm.Guest.Events[len(vm.Guest.Events)-1].Message == "two"
	})
	require.NoError(t, e.AckEvents(t.Context(), "a", vm.Guest.BootID, vm.Guest.Events[len(vm.Guest.Events)-1].Seq))
	hv.Vanish("a")
	e.Close()
	e = newHost(t, hv, dir)
	vm, err = e.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, portlayer.StateRemoved, vm.State)
	require.Empty(t, vm.Guest.Events)
	require.ErrorIs(t, e.AckEvents(t.Context(), "b", "boot", 1), portlayer.ErrNotFound)
}

func TestEventsStayAcknowledgedThoughTheGuestDidNotHear(t *testing.T) {
	hv, dir := memhv.New(memhv.Config{}), t.TempDir()
	e := newHost(t, hv, dir)
	runPod(t, e, "a", "Never", "sleep 60")
	hv.Guest("a").Event("app", "BackOff", "one")
	vm := await(t, e, "a", func(vm podvm.VM) bool { return vm.Guest != nil && len(vm.Guest.Events) == 2 })
	hv.Silence("a", true)
	require.NoError(t, e.AckEvents(t.Context(), "a", vm.Guest.BootID, vm.Guest.Events[1].Seq))
	e.Close()
	hv.Silence("a", false)

	e = newHost(t, hv, dir)
	hv.Guest("a").Event("app", "BackOff", "two")
	vm = await(t, e, "a", func(vm podvm.VM) bool { return vm.Current && len(vm.Guest.Events) > 0 })
	require.Len(t, vm.Guest.Events, 1)
	assert.Equal(t, "two", vm.Guest.Events[0].Message)
}

func TestTheClockIsSetWhereItIsOff(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	e := newHost(t, hv, t.TempDir())
	runPod(t, e, "a", "Never", "sleep 60")
	require.Zero(t, hv.Guest("a").Clock())
	begin := time.Now()
	hv.Guest("a").Skew(-time.Hour)
	require.Eventually(t, func() bool {
		// The answer that is under way may be dated already; the next one comes with the next event.
		hv.Guest("a").Event("app", "Any", "wakes the snapshot")
		return !hv.Guest("a").Clock().IsZero()
	}, testTimeout, 10*time.Millisecond)
	assert.WithinRange(t, hv.Guest("a").Clock(), begin, time.Now())
}

func TestWatchNeverBlocksAndEnds(t *testing.T) {
	hv := memhv.New(memhv.Config{})
	e := newHost(t, hv, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	slow := e.Watch(ctx)
	for range 20 {
		commit(t, e, "a")
		require.NoError(t, e.Remove(t.Context(), "a"))
	}
	require.Equal(t, "a", <-slow)
	cancel()
	for range slow { // until it is closed
	}
}

// forgetful is a hypervisor that lists nothing before it is told what was there.
type forgetful struct {
	*memhv.Hypervisor
	recalled []portlayer.VM
}

func (f *forgetful) List(ctx context.Context) ([]portlayer.VM, error) {
	vms, err := f.Hypervisor.List(ctx)
	if len(f.recalled) == 0 {
		return nil, err
	}
	for i := range vms {
		vms[i].Ref = "vm-" + vms[i].ID()
	}
	return vms, err
}

func (f *forgetful) Recall(_ context.Context, vms []portlayer.VM) error {
	f.recalled = append(f.recalled, vms...)
	return nil
}

func TestAVMThatIsNotListedIsRecalled(t *testing.T) {
	dir := t.TempDir()
	hv := &forgetful{Hypervisor: memhv.New(memhv.Config{}), recalled: []portlayer.VM{{}}}
	e := newHost(t, hv, dir)
	commit(t, e, "a")
	commit(t, e, "b")
	require.NoError(t, e.Remove(t.Context(), "b"))
	e.Close()
	hv.recalled = nil

	next := newHost(t, hv, dir)
	require.Len(t, hv.recalled, 1, "b is known to be gone")
	assert.Equal(t, "vm-a", hv.recalled[0].Ref)
	assert.Equal(t, portlayer.StateCreated, hv.recalled[0].State)
	vm, err := next.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, portlayer.StateCreated, vm.State)
}
