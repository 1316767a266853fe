//go:build e2e && long

package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestKillOfVICWhileAPodStarts(t *testing.T) {
	t.Parallel()
	c := up(t)
	c.importImage(t)
	// Moments from before the commit to after the container runs, under emulation.
	for i, delay := range []time.Duration{0, 200 * time.Millisecond, 600 * time.Millisecond, 1500 * time.Millisecond, 3 * time.Second, 5 * time.Second} {
		p := c.create(t, pod("default", fmt.Sprintf("early-%d", i), countLines))
		c.atLeast(t, delay)
		c.kill()
		c.start(t)
		p = c.waitReady(t, p)
		assert.Zero(t, restarts(p), "killed after %s", delay)
		c.requireCounts(t, p, 1)
		c.delete(t, p)
		require.Empty(t, c.vms(t), "killed after %s", delay)
	}
}

// atLeast lets time pass: the moment of a kill is what the test varies, no condition shows it.
func (c *cluster) atLeast(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case err := <-c.ended:
		require.NoError(t, err, c.out.String())
		require.Fail(t, "vic up ended")
	}
}

func TestPodDeletedWhileVICIsAway(t *testing.T) {
	t.Parallel()
	c := up(t)
	c.importImage(t)
	p := c.create(t, pod("default", "left", sleepForever))
	p = c.waitReady(t, p)
	vm, ok := c.vm(t, p)
	require.True(t, ok)
	// The control plane outlives a kill of vic.
	c.kill()
	c.kubectl(t, "delete", "pod", "left", "--force", "--grace-period=0")
	c.start(t)
	c.waitGone(t, p)
	requireNoProcess(t, vm.PID)
}
