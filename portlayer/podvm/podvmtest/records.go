package podvmtest

import (
	"context"
	"errors"
	"io"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

func podReopen(t *tester) {
	t.run("Always", "echo before; sleep 0.5; echo after; sleep 60")
	before := t.await(running)
	t.Host = t.Reopen()
	after := t.await(running)
	assert.True(t, after.Greeted)
	assert.Equal(t, before.PID, after.PID)
	assert.Equal(t, before.Guest.BootID, after.Guest.BootID)
	assert.Equal(t, status(before).ID, status(after).ID)
	assert.Equal(t, before.Spec, after.Spec)
	_, err := t.Host.Configure(t.ctx, podUID, pod("Always"))
	require.NoError(t, err)
	r, err := t.Host.Logs(t.ctx, podUID, container, podvm.LogOptions{Follow: true})
	require.NoError(t, err)
	b := make([]byte, len("before\nafter\n"))
	_, err = io.ReadFull(r, b)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	assert.Equal(t, "before\nafter\n", string(b))
}

func podRecord(t *tester) {
	require.ErrorIs(t, t.Host.Remember(t.ctx, podUID, []byte(`{}`)), portlayer.ErrNotFound)
	t.commit()
	assert.Empty(t, t.get().Record)
	require.NoError(t, t.Host.Remember(t.ctx, podUID, []byte(`{"n":1}`)))
	require.NoError(t, t.Host.Remember(t.ctx, podUID, []byte(`{"n":2}`)))
	t.Host = t.Reopen()
	assert.JSONEq(t, `{"n":2}`, string(t.get().Record))
	require.NoError(t, t.Host.Remove(t.ctx, podUID))
	assert.JSONEq(t, `{"n":2}`, string(t.get().Record))
	require.NoError(t, t.Host.Forget(t.ctx, podUID))
	t.commit()
	assert.Empty(t, t.get().Record)
}

func podEvents(t *tester) {
	require.ErrorIs(t, t.Host.AckEvents(t.ctx, podUID, "boot", 1), portlayer.ErrNotFound)
	t.run("Never", "sleep 600")
	vm := t.await(func(vm podvm.VM) bool { return running(vm) && len(vm.Guest.Events) > 0 })
	last := vm.Guest.Events[len(vm.Guest.Events)-1].Seq
	require.NoError(t, t.Host.AckEvents(t.ctx, podUID, "another boot", last))
	assert.NotEmpty(t, t.get().Guest.Events)
	require.NoError(t, t.Host.AckEvents(t.ctx, podUID, vm.Guest.BootID, last))
	none := func() {
		t.Helper()
		for _, e := range t.await(running).Guest.Events {
			assert.Greater(t, e.Seq, last)
		}
	}
	none()
	t.Host = t.Reopen()
	none()
}

func podAddress(t *tester) {
	if t.Scope == "" {
		return
	}
	drafted := t.draft()
	address := drafted.Spec().NICs[0].Addresses[0]
	t.Host.Discard(drafted)
	require.Equal(t, address, t.commit().Spec.NICs[0].Addresses[0])
	require.NoError(t, t.Host.Remove(t.ctx, podUID))
	require.NoError(t, t.Host.Forget(t.ctx, podUID))
	require.Equal(t, address, t.commit().Spec.NICs[0].Addresses[0])
}

func podKilled(t *tester) {
	t.run("Always", "echo first; sleep 60")
	before := t.await(running)
	t.awaitLog("first\n")
	t.Kill(podUID)
	vm := t.await(func(vm podvm.VM) bool { return vm.State == portlayer.StateStopped })
	assert.NotEmpty(t, vm.StopReason)
	assert.False(t, vm.Current)
	assert.Equal(t, before.Guest.BootID, vm.Guest.BootID)
	assert.Equal(t, wire.ContainerRunning, status(vm).State, "what is known of it is of its last boot")
	assert.Equal(t, "first\n", t.log(podvm.LogOptions{Follow: true}))

	require.NoError(t, t.Host.Start(t.ctx, podUID))
	vm = t.get()
	assert.Equal(t, before.Guest.BootID, vm.Guest.BootID, "a boot without a pod says nothing")
	assert.False(t, vm.Current)
	assert.True(t, vm.Greeted)
	assert.False(t, vm.Booting)
	plan, again := plan("echo second; sleep 60"), pod("Always")
	again.Containers[0].RestartCount = 1
	again.Containers[0].Last = &wire.Terminated{ExitCode: 137, Reason: wire.ReasonError}
	_, err := t.Host.Configure(t.ctx, podUID, again)
	require.NoError(t, err)
	require.NoError(t, t.Host.Run(t.ctx, podUID, plan))
	vm = t.await(running)
	assert.NotEqual(t, before.Guest.BootID, vm.Guest.BootID)
	assert.Equal(t, int32(1), status(vm).RestartCount)
	assert.Equal(t, "first\n", t.log(podvm.LogOptions{Previous: true}))
	t.awaitLog("second\n")
}

func podStartCancelled(t *tester) {
	t.commit()
	ctx, cancel := context.WithCancel(t.ctx)
	cancel()
	err := t.Host.Start(ctx, podUID)
	require.True(t, errors.Is(err, context.Canceled) || err == nil, "%v", err)
	require.NoError(t, t.Host.Start(t.ctx, podUID))
	require.Equal(t, portlayer.StateRunning, t.get().State)
}
