//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

// podvm runs `vic podvm` with the cluster's directory.
func (c *cluster) podvm(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, bin("vic"), append(append([]string{"podvm"}, args...), "--dir", c.dir)...)
}

func TestAPodVMIsLookedInto(t *testing.T) {
	t.Parallel()
	c := shared
	p := c.create(t, pod(c.namespace(t), "glass", "trap 'exit 0' TERM; while :; do sleep 1; done"))
	p = c.waitReady(t, p)
	before, ok := c.vm(t, p)
	require.True(t, ok)

	out, err := c.podvm(t.Context(), "inspect", p.Namespace+"/glass", "-o", "json").Output()
	require.NoError(t, err)
	var inside struct {
		vm
		Held  bool
		Guest struct {
			Containers []struct{ Name, State string }
		}
	}
	require.NoError(t, json.Unmarshal(out, &inside), string(out))
	assert.Equal(t, before, inside.vm)
	assert.True(t, inside.Held)
	require.Len(t, inside.Guest.Containers, 1)
	assert.Equal(t, "running", inside.Guest.Containers[0].State)
	text, err := c.podvm(t.Context(), "inspect", before.UID).Output()
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^Container +main running, 0 restarts$`, string(text))

	follower := c.podvm(t.Context(), "console", "-f", before.UID)
	followed := &output{}
	follower.Stdout = followed
	require.NoError(t, follower.Start())
	c.eventually(t, "the console", func(context.Context) (bool, string) {
		return strings.Contains(followed.String(), `msg="guest ready"`), followed.String()
	})

	out, err = c.podvm(t.Context(), "rm", before.UID).CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "is still wanted")
	assert.Contains(t, string(out), "kubectl -n "+p.Namespace+" delete pod glass")
	now, _ := c.vm(t, p)
	assert.Equal(t, before.PID, now.PID, "nothing was touched")

	out, err = c.podvm(t.Context(), "rm", "--force", before.UID).CombinedOutput()
	require.NoError(t, err, string(out))
	assert.Contains(t, string(out), "ended QEMU")
	requireNoProcess(t, before.PID)
	require.NoError(t, awaitEnd(t, follower), "a console ends with its VM")
	c.waitPod(t, p, "runs again", func(p *corev1.Pod) bool { return restarts(p) == 1 && ready(p) })
	c.delete(t, p)

	out, err = c.podvm(t.Context(), "inspect", before.UID).CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), "there is no pod VM")
}

// awaitEnd returns how a command ended.
func awaitEnd(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // ends with the command, which the test's context bounds
	select {
	case err := <-ended:
		return err
	case <-time.After(patience):
		require.Fail(t, "the command does not end", cmd.String())
		return nil
	}
}
