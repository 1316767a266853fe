package operations_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

func TestRunning(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		web := func(container string) operations.Container {
			return operations.Container{Namespace: "default", Name: "web", Container: container}
		}
		require.ErrorIs(t, n.manager.Running(t.Context(), web("app")), portlayer.ErrNotFound, "there is no pod")

		n.store.Gate = make(chan struct{})
		p := pod(corev1.RestartPolicyAlways, "echo hello; sleep 10000")
		n.manager.Sync(p)
		n.await(time.Minute, "a VM that waits for its image", func() bool { return n.manager.Running(t.Context(), web("")) == nil })
		require.ErrorIs(t, n.manager.Running(t.Context(), web("app")), portlayer.ErrNotRunning)

		close(n.store.Gate)
		n.awaitPhase(corev1.PodRunning)
		require.NoError(t, n.manager.Running(t.Context(), web("app")))
		require.ErrorIs(t, n.manager.Running(t.Context(), web("other")), portlayer.ErrNotFound)

		n.restart(p)
		require.NoError(t, n.manager.Running(t.Context(), web("app")), "what was said before counts until the guest greets")

		n.manager.Sync(deleted(p, 30))
		n.await(time.Minute, "finished", func() bool {
			e, _ := n.pods.Get(uid)
			return e.Finished
		})
		require.ErrorIs(t, n.manager.Running(t.Context(), web("app")), portlayer.ErrNotRunning)
		assert.Equal(t, "hello\n", n.log(podvm.LogOptions{}), "its log stays")
	})
}
