//go:build qemu

package guest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestThePodsDeadlineIsATimeOfDay(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	pod := podOf("Always", "app")
	pod.Grace, pod.Deadline = time.Minute, time.Now().Add(10*time.Hour)
	v.configure(pod)
	v.run(sh("app", "trap 'exit 0' TERM; echo up; while true; do sleep 0.2; done"))
	v.awaitState("app", wire.ContainerRunning)
	require.True(t, waitForLog(v, "app"), "it takes the signal from now on")
	pod.Deadline = time.Now().Add(5 * time.Hour)
	v.configure(pod) // it alone may change
	v.must("PUT", wire.PathClock, wire.Clock{Time: time.Now().Add(6 * time.Hour)})
	s := v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
	assert.Equal(t, wire.StopReasonDeadline, s.StopReason)
	assert.Zero(t, s.Containers[0].Current.ExitCode, "it was asked to end")
}
