//go:build qemu

package guest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// probeOf asks once a second and gives an emulated machine time to answer.
func probeOf(a wire.Action) *wire.Probe {
	return &wire.Probe{Action: a, Period: time.Second, Timeout: 30 * time.Second, SuccessThreshold: 1, FailureThreshold: 1}
}

func execProbe(script string) *wire.Probe {
	return probeOf(wire.Action{Exec: []string{"sh", "-c", script}})
}

// awaitEvent collects the pod's events until one has the reason and the text.
func (v *vm) awaitEvent(reason, text string) {
	v.t.Helper()
	v.await(func(s wire.Snapshot) bool {
		for _, e := range s.Events {
			if e.Reason == reason && strings.Contains(e.Message, text) {
				return true
			}
		}
		return false
	})
}

func TestProbesAndHooks(t *testing.T) {
	t.Parallel()
	const idle = "trap 'exit 0' TERM; while true; do sleep 0.2; done"
	data := []wire.Mount{{Volume: "data", Path: "/data"}}
	web := sh("web", "exec httpd -f -p 8080 -h /tmp")
	web.StartupProbe = probeOf(wire.Action{TCP: &wire.TCPAction{Port: 8080}})
	web.StartupProbe.FailureThreshold = 1000
	web.ReadinessProbe = probeOf(wire.Action{HTTP: &wire.HTTPAction{Scheme: "http", Port: 8080, Path: "/ready"}})
	alive := sh("alive", "touch /tmp/alive; "+idle)
	alive.Mounts = data
	alive.StartupProbe = execProbe("test -e /tmp/alive")
	alive.StartupProbe.FailureThreshold = 1000
	alive.LivenessProbe = execProbe("test -e /tmp/alive || { echo it is gone; false; }")
	alive.PostStart = &wire.Action{Exec: []string{"sh", "-c", "echo started >> /data/hooks"}}
	alive.PreStop = &wire.Action{Exec: []string{"sh", "-c", "echo stopped >> /data/hooks"}}
	slow := sh("slow", idle)
	slow.ReadinessProbe = execProbe("echo began; exec sleep 4321")
	slow.ReadinessProbe.Timeout = time.Second
	slow.LivenessProbe = probeOf(wire.Action{Exec: []string{"/no/such/check"}})
	fails := sh("fails", idle)
	fails.PostStart = &wire.Action{Exec: []string{"false"}}

	v := start(t, t.TempDir())
	pod := podOf("Always", "web", "alive", "slow", "fails")
	pod.Grace = 30 * time.Second
	v.configure(pod)
	for _, c := range []wire.Container{web, alive, slow, fails} {
		v.run(c)
	}
	v.awaitEvent("FailedPostStartHook", "PostStartHook failed")
	v.awaitEvent("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404")
	v.awaitEvent("Unhealthy", `Readiness probe failed: command timed out: "sh -c echo began; exec sleep 4321" timed out after 1s`)
	v.awaitEvent("Unhealthy", "Liveness probe errored and resulted in unknown state: ")
	s := v.await(func(s wire.Snapshot) bool {
		w, _ := s.Container("web")
		a, _ := s.Container("alive")
		return w.Started && a.Ready
	})
	c, _ := s.Container("web")
	assert.False(t, c.Ready)
	c, _ = s.Container("slow")
	assert.Equal(t, wire.ContainerRunning, c.State)
	assert.False(t, c.Ready)

	v.output("web", "touch /tmp/ready")
	v.output("alive", "rm /tmp/alive")
	s = v.await(func(s wire.Snapshot) bool {
		w, _ := s.Container("web")
		a, _ := s.Container("alive")
		return w.Ready && a.RestartCount == 1 && a.Ready
	})
	c, _ = s.Container("alive")
	assert.Equal(t, int32(0), c.Last.ExitCode)
	v.awaitEvent("Unhealthy", "Liveness probe failed: it is gone")
	v.awaitEvent("Killing", "Container alive failed liveness probe, will be restarted")
	assert.Equal(t, "started\nstopped\nstarted\n", v.output("alive", "cat /data/hooks"))
	// Whatever runs too long was killed, at the latest after the one that is asked just now.
	assert.LessOrEqual(t, strings.Count(v.output("slow", "ps"), "4321"), 1)
	v.must("POST", wire.PathStop, wire.Stop{Grace: time.Minute})
	v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
}
