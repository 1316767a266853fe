package operations_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/mock"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/guest/wire"
	operationsmocks "github.com/virtual-kubelet/vic/mocks/operations"
	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/worker"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

func TestStopperPowersOffAtOnce(t *testing.T) {
	tests := map[string]podvm.VM{
		"a VM whose guest never greeted":        vmIn(portlayer.StateRunning, ""),
		"a VM whose guest was never configured": vmIn(portlayer.StateRunning, wire.PhaseWaiting),
		"a VM whose new boot was never configured": func() podvm.VM {
			vm := vmIn(portlayer.StateRunning, wire.PhaseConfigured)
			vm.Current = false
			return vm
		}(),
		"a VM whose containers have ended and whose logs are here": func() podvm.VM {
			vm := vmIn(portlayer.StateRunning, wire.PhaseDone)
			vm.LogsComplete = true
			return vm
		}(),
	}
	for name, vm := range tests {
		t.Run(name, func(t *testing.T) {
			host := operationsmocks.NewStopperHost(t)
			host.EXPECT().PowerOff(mock.Anything, uid).Return(nil).Once()
			again, err := operations.NewPodStopper(host).Stop(t.Context(), vm, worker.StopRequest{Grace: time.Minute}, &worker.Stopping{})
			require.NoError(t, err)
			assert.Zero(t, again)
		})
	}
}

func TestStopperDoesNothingToAVMThatIsOff(t *testing.T) {
	for _, state := range []portlayer.State{portlayer.StateCreated, portlayer.StateStopped, portlayer.StateRemoved} {
		again, err := operations.NewPodStopper(operationsmocks.NewStopperHost(t)).
			Stop(t.Context(), vmIn(state, wire.PhaseConfigured), worker.StopRequest{}, &worker.Stopping{})
		require.NoError(t, err)
		assert.Zero(t, again)
	}
}

func TestStopperAsksOnceAndCutsThePowerAfterTheGracePeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := operationsmocks.NewStopperHost(t)
		s, progress := operations.NewPodStopper(host), &worker.Stopping{}
		vm := vmIn(portlayer.StateRunning, wire.PhaseConfigured)
		req := worker.StopRequest{Grace: 30 * time.Second, Reason: "why"}
		host.EXPECT().Stop(mock.Anything, uid, wire.Stop{Grace: 30 * time.Second, Reason: "why"}).Return(nil).Once()

		again, err := s.Stop(t.Context(), vm, req, progress)
		require.NoError(t, err)
		assert.InDelta(t, 35, again.Seconds(), 0.1)
		sleep(10 * time.Second)
		again, err = s.Stop(t.Context(), vm, req, progress)
		require.NoError(t, err)
		assert.InDelta(t, 25, again.Seconds(), 0.1)

		host.EXPECT().Stop(mock.Anything, uid, wire.Stop{Grace: 2 * time.Second, Reason: "why"}).Return(nil).Once()
		req.Grace = 2 * time.Second
		again, err = s.Stop(t.Context(), vm, req, progress)
		require.NoError(t, err)
		assert.InDelta(t, 7, again.Seconds(), 0.1, "a shorter grace period holds")
		sleep(again)
		host.EXPECT().PowerOff(mock.Anything, uid).Return(nil).Once()
		again, err = s.Stop(t.Context(), vm, req, progress)
		require.NoError(t, err)
		assert.Zero(t, again)
	})
}

func TestStopperAsksAGuestOfWhichNothingIsKnown(t *testing.T) {
	host := operationsmocks.NewStopperHost(t)
	vm := vmIn(portlayer.StateRunning, "")
	vm.Booting = false
	req := worker.StopRequest{Grace: 30 * time.Second}
	host.EXPECT().Stop(mock.Anything, uid, mock.Anything).Return(nil).Once()
	again, err := operations.NewPodStopper(host).Stop(t.Context(), vm, req, &worker.Stopping{})
	require.NoError(t, err)
	assert.NotZero(t, again, "its containers get their grace period")
}

func TestStopperAsksAgainWhileTheGuestDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := operationsmocks.NewStopperHost(t)
		s, progress := operations.NewPodStopper(host), &worker.Stopping{}
		vm := vmIn(portlayer.StateRunning, wire.PhaseConfigured)
		host.EXPECT().Stop(mock.Anything, uid, mock.Anything).Return(portlayer.ErrGuestUnreachable)
		off := false
		host.EXPECT().PowerOff(mock.Anything, uid).Run(func(context.Context, string) { off = true }).Return(nil).Once()
		began := time.Now()
		for !off {
			again, err := s.Stop(t.Context(), vm, worker.StopRequest{Grace: 10 * time.Second}, progress)
			require.NoError(t, err)
			sleep(again)
		}
		assert.InDelta(t, 15, time.Since(began).Seconds(), 2)
	})
}

func TestStopperWaitsForTheEndOfTheLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := operationsmocks.NewStopperHost(t)
		s := operations.NewPodStopper(host)
		vm := vmIn(portlayer.StateRunning, wire.PhaseDone)
		forever := &worker.Stopping{}
		for range 10 {
			again, err := s.Stop(t.Context(), vm, worker.StopRequest{}, forever)
			require.NoError(t, err)
			require.NotZero(t, again)
			sleep(time.Hour)
		}
		bounded := &worker.Stopping{}
		again, err := s.Stop(t.Context(), vm, worker.StopRequest{LogsWithin: 10 * time.Second}, bounded)
		require.NoError(t, err)
		require.Equal(t, 10*time.Second, again)
		sleep(again)
		host.EXPECT().PowerOff(mock.Anything, uid).Return(nil).Once()
		_, err = s.Stop(t.Context(), vm, worker.StopRequest{LogsWithin: 10 * time.Second}, bounded)
		require.NoError(t, err)
	})
}

func TestStopperReportsAHypervisorThatFails(t *testing.T) {
	host := operationsmocks.NewStopperHost(t)
	host.EXPECT().PowerOff(mock.Anything, uid).Return(portlayer.ErrBusy).Once()
	_, err := operations.NewPodStopper(host).Stop(t.Context(), vmIn(portlayer.StateRunning, ""), worker.StopRequest{}, &worker.Stopping{})
	require.ErrorIs(t, err, portlayer.ErrBusy)
	host.EXPECT().PowerOff(mock.Anything, uid).Return(portlayer.ErrNotFound).Once()
	_, err = operations.NewPodStopper(host).Stop(t.Context(), vmIn(portlayer.StateRunning, ""), worker.StopRequest{}, &worker.Stopping{})
	require.NoError(t, err, "a VM that is gone is off")
}

func TestDeleter(t *testing.T) {
	newDeleter := func(t *testing.T) (*operations.PodDeleter, *operationsmocks.DeleterHost, *operationsmocks.TokenForgetter, *operationsmocks.MemoryReleaser) {
		t.Helper()
		host, tokens, memory := operationsmocks.NewDeleterHost(t), operationsmocks.NewTokenForgetter(t), operationsmocks.NewMemoryReleaser(t)
		return operations.NewPodDeleter(operations.DeleterConfig{Host: host, Volumes: tokens, Admission: memory}), host, tokens, memory
	}
	t.Run("removes, and keeps what happened", func(t *testing.T) {
		d, host, _, memory := newDeleter(t)
		host.EXPECT().Remove(mock.Anything, uid).Return(nil).Twice()
		memory.EXPECT().Release(uid).Twice()
		require.NoError(t, d.Remove(t.Context(), uid))
		require.NoError(t, d.Remove(t.Context(), uid))
	})
	t.Run("gives nothing back while the VM is there", func(t *testing.T) {
		d, host, _, _ := newDeleter(t)
		host.EXPECT().Remove(mock.Anything, uid).Return(errBroken)
		require.ErrorIs(t, d.Remove(t.Context(), uid), errBroken)
		require.ErrorIs(t, d.Forget(t.Context(), uid), errBroken)
	})
	t.Run("forgets after it removed", func(t *testing.T) {
		d, host, tokens, memory := newDeleter(t)
		remove := host.EXPECT().Remove(mock.Anything, uid).Return(nil).Once()
		memory.EXPECT().Release(uid)
		forget := host.EXPECT().Forget(mock.Anything, uid).Return(nil).Once().NotBefore(remove)
		tokens.EXPECT().Forget(types.UID(uid)).Once().NotBefore(forget)
		require.NoError(t, d.Forget(t.Context(), uid))
	})
	t.Run("keeps the tokens when forgetting fails, and is called again", func(t *testing.T) {
		d, host, _, memory := newDeleter(t)
		host.EXPECT().Remove(mock.Anything, uid).Return(nil)
		memory.EXPECT().Release(uid)
		host.EXPECT().Forget(mock.Anything, uid).Return(context.Canceled)
		require.ErrorIs(t, d.Forget(t.Context(), uid), context.Canceled)
	})
}
