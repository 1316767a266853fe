//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// countLines logs a number twenty times a second, so that a lost or repeated line shows.
const countLines = `trap 'exit 0' TERM; i=0; while :; do echo $i; i=$((i+1)); usleep 50000; done`

// requireCounts waits until the pod's log has so many lines, and requires that it has every number of countLines once.
func (c *cluster) requireCounts(t *testing.T, p *corev1.Pod, atLeast int) {
	t.Helper()
	var lines []string
	c.eventually(t, "the log's lines", func(context.Context) (bool, string) {
		log := c.kubectl(t, "-n", p.Namespace, "logs", p.Name)
		lines = strings.Split(strings.TrimSuffix(log, "\n"), "\n")
		return log != "" && len(lines) >= atLeast, log
	})
	for i, line := range lines {
		require.Equal(t, strconv.Itoa(i), line, "line %d of %d", i, len(lines))
	}
}

// requireNoProcess requires that a process has ended. One that its parent has not yet reaped has no program any more.
func requireNoProcess(t *testing.T, pid int) {
	t.Helper()
	require.NotZero(t, pid)
	_, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func restarts(p *corev1.Pod) int32 {
	if len(p.Status.ContainerStatuses) == 0 {
		return -1
	}
	return p.Status.ContainerStatuses[0].RestartCount
}

func TestKillOfVICLosesNothing(t *testing.T) {
	t.Parallel()
	c := up(t)
	c.importImage(t)
	p := c.create(t, pod("default", "counter", countLines))
	p = c.waitReady(t, p)
	before, ok := c.vm(t, p)
	require.True(t, ok)

	for range 3 {
		c.kill()
		c.start(t)
	}
	p = c.waitReady(t, p)
	after, ok := c.vm(t, p)
	require.True(t, ok)
	assert.Equal(t, before.PID, after.PID, "the VM is the same")
	assert.Zero(t, restarts(p))
	assert.Len(t, c.vms(t), 1)
	c.requireCounts(t, p, 50)
	assert.Equal(t, "alive\n", c.kubectl(t, "exec", "counter", "--", "echo", "alive"))
}

func TestQEMUKilledByHand(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		whileAway bool
		policy    corev1.RestartPolicy
	}{
		"restarts":              {false, corev1.RestartPolicyAlways},
		"restarts-after-return": {true, corev1.RestartPolicyAlways},
		"fails":                 {false, corev1.RestartPolicyNever},
	}
	c := up(t)
	c.importImage(t)
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := c.create(t, pod("default", name, "echo in boot; "+sleepForever, restart(tt.policy)))
			p = c.waitReady(t, p)
			hasLog := func() {
				t.Helper()
				c.eventually(t, "the log of the container that runs", func(context.Context) (bool, string) {
					log := c.kubectl(t, "logs", name)
					return log == "in boot\n", log
				})
			}
			hasLog()
			before := int32(0)
			if tt.policy == corev1.RestartPolicyAlways { // the count goes on where it was
				_, _ = c.tryKubectl(t, "exec", name, "--", "kill", "1") // it may end with the container that it ends
				p = c.waitPod(t, p, "restarts in its VM", func(p *corev1.Pod) bool { return restarts(p) == 1 && ready(p) })
				before = 1
			}
			hasLog() // what the VM alone has of it goes with the VM
			vm, ok := c.vm(t, p)
			require.True(t, ok)
			if tt.whileAway {
				c.kill()
			}
			require.NoError(t, syscall.Kill(vm.PID, syscall.SIGKILL))
			if tt.whileAway {
				c.start(t)
			}
			if tt.policy == corev1.RestartPolicyNever {
				p = c.waitPhase(t, p, corev1.PodFailed)
				end := p.Status.ContainerStatuses[0].State.Terminated
				require.NotNil(t, end)
				assert.NotEmpty(t, end.Reason)
				assert.Zero(t, restarts(p))
			} else {
				p = c.waitPod(t, p, "runs again", func(p *corev1.Pod) bool { return restarts(p) == before+1 && ready(p) })
				last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated
				require.NotNil(t, last)
				assert.NotEmpty(t, last.Reason)
				assert.Equal(t, "in boot\n", c.kubectl(t, "logs", "-p", name))
			}
			hasLog()
			c.delete(t, p)
		})
	}
}

func TestStopAndUpAgain(t *testing.T) {
	t.Parallel()
	c := up(t)
	c.importImage(t)
	always := c.waitReady(t, c.create(t, pod("default", "always", sleepForever)))
	never := c.waitReady(t, c.create(t, pod("default", "never", sleepForever, restart(corev1.RestartPolicyNever))))
	vm, ok := c.vm(t, always)
	require.True(t, ok)

	c.stop(t)
	requireNoProcess(t, vm.PID)
	for _, vm := range c.vms(t) {
		assert.Zero(t, vm.PID, "nothing is left running")
	}

	c.start(t)
	again := c.waitPod(t, always, "runs again", func(p *corev1.Pod) bool { return restarts(p) == 1 && ready(p) })
	assert.Equal(t, always.UID, again.UID)
	c.waitPhase(t, never, corev1.PodFailed)
}

func TestKeepPodsLeavesTheVMs(t *testing.T) {
	t.Parallel()
	c := up(t, "--keep-pods")
	c.importImage(t)
	p := c.waitReady(t, c.create(t, pod("default", "kept", countLines)))
	before, ok := c.vm(t, p)
	require.True(t, ok)
	c.stop(t)
	after, ok := c.vm(t, p)
	require.True(t, ok)
	assert.Equal(t, before.PID, after.PID)
	assert.Equal(t, "running", after.State)
	c.start(t)
	p = c.waitReady(t, p)
	assert.Zero(t, restarts(p))
	c.requireCounts(t, p, 10)
}

func TestAStartThatFailsLeavesPodsTheirNetwork(t *testing.T) {
	t.Parallel()
	c := up(t)
	c.importImage(t)
	p := c.waitReady(t, c.create(t, pod("default", "served", "exec /testpod serve :8000")))
	url := "http://" + p.Status.PodIP + ":8000/env"
	assert.Contains(t, get(t, url), "HOSTNAME=served")
	c.kill()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	args := c.args
	c.args = append(slices.Clone(args), "--api-port", strconv.Itoa(taken.Addr().(*net.TCPAddr).Port))
	c.launch(t)
	require.Error(t, <-c.ended, c.out.String())
	c.args = args
	c.start(t)
	assert.Contains(t, get(t, url), "HOSTNAME=served")
}

func TestOrphansAreCollected(t *testing.T) {
	t.Parallel()
	c := up(t)
	c.importImage(t)
	p := c.waitReady(t, c.create(t, pod("default", "orphan", sleepForever)))
	c.kubectl(t, "delete", "pod", "orphan", "--force", "--grace-period=0")
	c.eventually(t, "the VM is collected", func(context.Context) (bool, string) {
		vm, ok := c.vm(t, p)
		return !ok, vm.State
	})
}
