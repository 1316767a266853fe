//go:build e2e

package e2e_test

import (
	"context"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestASecondCtrlCCutsGracePeriods(t *testing.T) {
	t.Parallel()
	c := up(t)
	c.importImage(t)
	stubborn := c.waitReady(t, c.create(t, pod("default", "stubborn", "trap '' TERM; while :; do sleep 1; done", func(p *corev1.Pod) {
		p.Spec.TerminationGracePeriodSeconds = new(int64(time.Hour / time.Second))
	})))
	vm, ok := c.vm(t, stubborn)
	require.True(t, ok)
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGINT))
	c.eventually(t, "vic up says that it stops", func(context.Context) (bool, string) {
		return strings.Contains(c.out.String(), "stopping"), c.out.String()
	})
	require.NoError(t, c.cmd.Process.Signal(syscall.SIGINT))
	select {
	case err := <-c.ended:
		require.NoError(t, err, c.out.String())
	case <-time.After(patience):
		require.Fail(t, "vic up goes on", c.out.String())
	}
	assert.Contains(t, c.out.String(), "cutting the power")
	requireNoProcess(t, vm.PID)
}
