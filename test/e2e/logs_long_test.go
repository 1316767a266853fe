//go:build e2e && long

package e2e_test

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

func TestAFollowerLosesNothingOverRotationRestartAndEnd(t *testing.T) {
	t.Parallel()
	c := up(t, "--container-log-max-size", "512Ki", "--container-log-max-files", "4")
	c.importImage(t)
	const count, rate = 20_000, 500
	p := c.create(t, pod("default", "counter", "exec /testpod count "+strconv.Itoa(count)+" "+strconv.Itoa(rate), restart(corev1.RestartPolicyNever)))
	c.waitReady(t, p)
	var n numbers
	n.read(t, c.stream(t, p, time.Time{}), count/4)
	c.kill()
	c.start(t)
	n.read(t, c.stream(t, p, n.stamp), count)
	require.Equal(t, count, n.next, "the log is read to its end")
	c.waitPhase(t, p, corev1.PodSucceeded)

	files, err := filepath.Glob(filepath.Join(c.dir, "run", string(p.UID), "logs", "main", "*"))
	require.NoError(t, err)
	assert.Len(t, files, 4)
	for _, file := range files {
		info, err := os.Stat(file)
		require.NoError(t, err)
		assert.Less(t, info.Size(), int64(512<<10+200), "a file ends with the line that fills it")
	}
	kept := c.log(t, p, corev1.PodLogOptions{})
	assert.True(t, strings.HasSuffix(kept, "\n"+strconv.Itoa(count-1)+strings.Repeat(" ", 94)+"\n"), "the end is kept")
	assert.Less(t, len(kept), 4*512<<10)
}

func TestAFullDiskLosesNeitherThePodNorItsLog(t *testing.T) {
	t.Parallel()
	c := newCluster(t.TempDir(), "--accel", shared.accel(t))
	runs := filepath.Join(c.dir, "run")
	require.NoError(t, os.MkdirAll(runs, 0o700))
	require.NoError(t, syscall.Mount("tmpfs", runs, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { c.purge(t) })
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(runs, syscall.MNT_DETACH)) })
	c.start(t)
	c.importImage(t)
	const count = 20_000
	p := c.create(t, pod("default", "flood", "/testpod count "+strconv.Itoa(count)+" 100000; "+sleepForever))
	c.waitReady(t, p)
	c.eventually(t, "the full disk is reported", func(context.Context) (bool, string) {
		return strings.Contains(c.out.String(), "no space left on device"), c.out.String()
	})
	assert.Equal(t, "alive\n", c.kubectl(t, "exec", "flood", "--", "echo", "alive"))
	assert.Contains(t, c.log(t, p, corev1.PodLogOptions{LimitBytes: ptr.To[int64](10)}), "0 ", "what there is can be read")

	require.NoError(t, syscall.Mount("tmpfs", runs, "tmpfs", syscall.MS_REMOUNT, "size=64m"))
	var n numbers
	n.read(t, c.stream(t, p, time.Time{}), count)
	require.Equal(t, count, n.next)
	p = c.waitReady(t, p)
	assert.Zero(t, restarts(p))
}
