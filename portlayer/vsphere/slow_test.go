//go:build !race

package vsphere_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	"golang.org/x/sync/errgroup"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// slowTasks has every task take that much longer, until the test ends. The simulator has one setting for all.
func slowTasks(t *testing.T, by time.Duration) {
	t.Helper()
	simulator.TaskDelay.Delay = int(by.Milliseconds())
	simulator.TaskDelay.MethodDelay = map[string]int{"LockHandoff": 0} // objects can be read meanwhile
	t.Cleanup(func() { simulator.TaskDelay = simulator.DelayConfig{} })
}

func numbered(n int) portlayer.Spec {
	s := spec()
	s.ID, s.Owner.Name = fmt.Sprintf("uid-%d", n), fmt.Sprintf("pod-%d", n)
	return s
}

func TestTasksThatTakeTheirTime(t *testing.T) {
	v, h := cluster(t)
	slowTasks(t, 300*time.Millisecond)
	var pods errgroup.Group
	for n := range 8 {
		pods.Go(func() error {
			s := numbered(n)
			if _, err := h.Create(t.Context(), s); err != nil {
				return err
			}
			if err := h.PowerOn(t.Context(), s.ID); err != nil {
				return err
			}
			return h.Destroy(t.Context(), s.ID)
		})
	}
	require.NoError(t, pods.Wait())
	assert.Zero(t, v.vms())
}

// TestATaskOutlivesWhoWaitsForIt has a creation that takes longer than its caller has patience for.
func TestATaskOutlivesWhoWaitsForIt(t *testing.T) {
	v, h := cluster(t)
	v.makeStrict()
	slowTasks(t, time.Second)
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := h.Create(short, spec())
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Zero(t, v.vms())
	changes := h.Watch(t.Context())
	await(t, changes, func() bool { _, ok := get(t, h); return ok })
	_, err = h.Create(t.Context(), spec())
	require.ErrorIs(t, err, portlayer.ErrExists)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	assert.Equal(t, 1, v.vms())
}

// TestAWatchThatIsLost loses all changes while a task goes on and a VM is powered off by hand.
func TestAWatchThatIsLost(t *testing.T) {
	v, h, d := behindDoor(t)
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	d.set(func(d *door) { d.before = func(call string) bool { return call != "WaitForUpdatesEx" } })
	d.server.CloseClientConnections()
	v.powerOff()
	require.Eventually(t, func() bool { vm, _ := get(t, h); return vm.State == portlayer.StateStopped }, patience, 50*time.Millisecond,
		"a change that nobody reports is read")
	slowTasks(t, time.Second)
	made := make(chan error, 1)
	// Ends with the task.
	go func() { _, err := h.Create(t.Context(), numbered(2)); made <- err }()
	require.Eventually(t, func() bool { return v.vms() == 2 }, patience, 50*time.Millisecond)
	d.open()
	require.NoError(t, <-made, "the change comes late")
}

// TestVCenterIsAwayInTheMiddleOfCreations has twenty pods started by somebody who tries again, as an engine does.
func TestVCenterIsAwayInTheMiddleOfCreations(t *testing.T) {
	const pods = 20
	v, h, d := behindDoor(t)
	v.makeStrict()
	before := v.files("")
	var asked, failed atomic.Int64
	middle := make(chan struct{})
	d.set(func(d *door) {
		d.after = func(call string) bool {
			if call == "CreateVM_Task" && asked.Add(1) == pods/2 {
				close(middle)
			}
			return true
		}
	})
	group, ctx := errgroup.WithContext(t.Context())
	for n := range pods {
		group.Go(func() error { return persist(ctx, h, numbered(n), &failed) })
	}
	<-middle
	d.shut()
	require.Eventually(t, func() bool { return failed.Load() >= pods/2 }, patience, 20*time.Millisecond)
	assert.LessOrEqual(t, v.vms(), pods)
	d.open()
	require.NoError(t, group.Wait())

	assert.Equal(t, pods, v.vms())
	vms, err := h.List(t.Context())
	require.NoError(t, err)
	require.Len(t, vms, pods)
	for _, vm := range vms {
		assert.Equal(t, portlayer.StateRunning, vm.State)
		require.NoError(t, h.Destroy(t.Context(), vm.ID()))
	}
	assert.Zero(t, v.vms())
	assert.ElementsMatch(t, before, v.files(""), "and nothing of them is left")
}

// persist makes a VM and starts it, however often that takes.
func persist(ctx context.Context, h *vsphere.Hypervisor, s portlayer.Spec, failed *atomic.Int64) error {
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		_, err := h.Create(ctx, s)
		if err == nil || errors.Is(err, portlayer.ErrExists) {
			err = h.PowerOn(ctx, s.ID)
		}
		if err == nil || !errors.Is(err, portlayer.ErrBusy) && !errors.Is(err, portlayer.ErrNotFound) {
			return err
		}
		failed.Add(1)
		select {
		case <-retry.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
