//go:build qemu

package guest_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

const untilTerm = "trap 'exit 0' TERM; while true; do sleep 0.2; done"

// eventually asks a container until what a script says is as wanted.
func (v *vm) eventually(container, script string, wanted func(string) bool) {
	v.t.Helper()
	deadline := time.Now().Add(patience)
	var said string
	for time.Now().Before(deadline) {
		if said = v.output(container, script); wanted(said) {
			return
		}
	}
	require.Fail(v.t, "it never said so", "%s says %q", container, said)
}

func (v *vm) awaitRestart(name string, count int32) wire.ContainerStatus {
	v.t.Helper()
	var got wire.ContainerStatus
	v.await(func(s wire.Snapshot) bool {
		got, _ = s.Container(name)
		return got.RestartCount == count && got.State == wire.ContainerRunning
	})
	return got
}

func TestContainersShareTheirProcesses(t *testing.T) {
	t.Parallel()
	const process1 = "ps -o pid,args | grep '^ *1 '"
	v := start(t, t.TempDir())
	pod := podOf("Always", "first", "second")
	pod.ShareProcesses = true
	v.configure(pod)
	v.run(sh("first", untilTerm))
	v.awaitState("first", wire.ContainerRunning)
	// In its first attempt it leaves a process behind.
	second := sh("second", "test -e /data/ran || sleep 4321 & touch /data/ran; sleep 8765; exit 3")
	second.Mounts = []wire.Mount{{Volume: "data", Path: "/data"}}
	v.run(second)
	v.awaitState("second", wire.ContainerRunning)

	assert.Contains(t, v.output("first", process1), "/pause")
	assert.Equal(t, "0\n", v.output("first", "ls -A /proc/1/root/ 2>/dev/null | grep -c init || true"), "the guest's files are out of reach")
	v.eventually("first", "ps -o args", func(s string) bool { return strings.Contains(s, "sleep 4321\n") && strings.Contains(s, "sleep 8765\n") })
	v.output("first", "kill 1; kill -KILL 1; kill -SEGV 1; (sleep 0.1 &) ; true")
	v.eventually("first", "ps -o stat,args | grep -c ^Z || true", func(s string) bool { return s == "0\n" })
	assert.Contains(t, v.output("first", process1), "/pause", "process 1 does not end by what a container does")

	t.Log("a container's end takes its own processes with it, and no others")
	v.output("first", "kill -KILL $(ps -o pid,args | grep '^ *[0-9]* sleep 8765' | while read pid args; do echo $pid; done)")
	got := v.awaitRestart("second", 1)
	assert.Equal(t, int32(3), got.Last.ExitCode)
	assert.NotContains(t, v.output("first", "ps -o args"), "\nsleep 4321\n")
	first := v.awaitState("first", wire.ContainerRunning)
	assert.Zero(t, first.RestartCount)

	v.must("POST", wire.PathStop, wire.Stop{Grace: time.Second})
	v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
	v.powerOff()
}

func TestADebuggerSeesItsTargetsProcesses(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	v.configure(podOf("Always", "app", "other"))
	v.run(sh("app", "trap 'exit 0' TERM; while true; do sleep 1.75; done"))
	v.run(sh("other", untilTerm))
	v.awaitState("app", wire.ContainerRunning)
	debugger := sh("debugger", "ps -o pid,args; sleep 8765 & true")
	debugger.Ephemeral, debugger.Target = true, "app"
	v.run(debugger)
	end := v.awaitState("debugger", wire.ContainerTerminated)
	assert.Zero(t, end.Current.ExitCode, end.Current.Message)
	said := v.log("debugger", 0)
	assert.Regexp(t, `(?m)^ *1 /bin/sh -c trap .* sleep 1\.75`, said, "process 1 is the target's")
	assert.NotContains(t, said, "sleep 0.2")
	v.eventually("app", "ps -o args", func(s string) bool { return !strings.Contains(s, "8765") })
	app := v.awaitState("app", wire.ContainerRunning)
	assert.Zero(t, app.RestartCount, "the target goes on")

	idle := sh("idle", untilTerm)
	idle.Ephemeral, idle.Target = true, "app"
	v.run(idle)
	v.awaitState("idle", wire.ContainerRunning)
	v.output("app", "kill 1")
	v.awaitRestart("app", 1)
	end = v.awaitState("idle", wire.ContainerTerminated)
	assert.Equal(t, int32(9), end.Current.Signal, "a namespace ends with its process 1")
	v.must("POST", wire.PathStop, wire.Stop{})
	v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
}
