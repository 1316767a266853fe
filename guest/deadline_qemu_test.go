//go:build qemu

package guest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestThePodsDeadlineIsATimeOfDay(t *testing.T) {
	v := start(t, t.TempDir())
	pod := podOf("Always", "app")
	pod.Grace, pod.Deadline = time.Minute, time.Now().Add(10*time.Hour)
	v.configure(pod)
	v.run(sh("app", untilTerm))
	v.awaitState("app", wire.ContainerRunning)
	pod.Deadline = time.Now().Add(5 * time.Hour)
	v.configure(pod) // it alone may change
	v.must("PUT", wire.PathClock, wire.Clock{Time: time.Now().Add(6 * time.Hour)})
	s := v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
	assert.Equal(t, wire.StopReasonDeadline, s.StopReason)
	assert.Zero(t, s.Containers[0].Current.ExitCode, "it was asked to end")
}
