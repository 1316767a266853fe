package operations_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

func member(name, script string) corev1.Container {
	return corev1.Container{
		Name: name, Image: "example.com/" + name + ":1", ImagePullPolicy: corev1.PullIfNotPresent, Command: fakeguest.Script(script),
	}
}

func (n *node) sync(p *corev1.Pod) {
	p = p.DeepCopy()
	p.Generation++
	n.manager.Sync(p)
}

// waitingReason is why a container of the pod waits, "" for one that does not.
func waitingReason(all []corev1.ContainerStatus, name string) string {
	for _, c := range all {
		if c.Name == name && c.State.Waiting != nil {
			return c.State.Waiting.Reason
		}
	}
	return ""
}

func TestInitContainersRunFirstAndASidecarGoesOn(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyNever, "sleep 5")
		sidecar := member("sidecar", "sleep 10000")
		sidecar.RestartPolicy = new(corev1.ContainerRestartPolicyAlways)
		p.Spec.InitContainers = []corev1.Container{member("first", "sleep 3"), sidecar}
		n.manager.Sync(p)
		n.await(time.Minute, "the first runs alone", func() bool {
			s := n.status()
			return len(s.InitContainerStatuses) == 2 && s.InitContainerStatuses[0].State.Running != nil
		})
		s := n.status()
		assert.Equal(t, corev1.PodPending, s.Phase)
		assert.Equal(t, "PodInitializing", waitingReason(s.InitContainerStatuses, "sidecar"))
		assert.Equal(t, "PodInitializing", waitingReason(s.ContainerStatuses, "app"))
		n.awaitPhase(corev1.PodRunning)
		s = n.status()
		require.NotNil(t, s.InitContainerStatuses[0].State.Terminated)
		assert.True(t, s.InitContainerStatuses[0].Ready)
		assert.True(t, *s.InitContainerStatuses[1].Started)
		n.awaitPhase(corev1.PodSucceeded)
		require.NotNil(t, n.status().InitContainerStatuses[1].State.Terminated, "the sidecar ended with the pod")
	})
}

func TestAnInitContainerThatFailsForGoodFailsThePod(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyNever, "sleep 10000")
		p.Spec.InitContainers = []corev1.Container{member("init", "exit 3")}
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodFailed)
		s := n.status()
		assert.Equal(t, int32(3), s.InitContainerStatuses[0].State.Terminated.ExitCode)
		assert.Equal(t, "PodInitializing", waitingReason(s.ContainerStatuses, "app"), "its turn never came")
	})
}

func TestAnImageThatIsLateHoldsUpNoOtherContainer(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.store.Gate, n.store.Gated = make(chan struct{}), "example.com/late:1"
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		p.Spec.Containers = append([]corev1.Container{member("late", "sleep 10000")}, p.Spec.Containers...)
		n.manager.Sync(p)
		n.await(time.Minute, "the other one runs", func() bool {
			s := n.status()
			return len(s.ContainerStatuses) == 2 && s.ContainerStatuses[1].State.Running != nil
		})
		assert.Equal(t, corev1.PodPending, n.status().Phase)
		assert.Equal(t, "ContainerCreating", waitingReason(n.status().ContainerStatuses, "late"))
		close(n.store.Gate)
		n.awaitPhase(corev1.PodRunning)
	})
}

func TestInitContainersRunAgainAfterAReboot(t *testing.T) {
	for _, policy := range []corev1.RestartPolicy{corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure} {
		t.Run(string(policy), func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				p := pod(policy, "sleep 10000")
				p.Spec.InitContainers = []corev1.Container{member("init", "sleep 1")}
				n.manager.Sync(p)
				n.awaitPhase(corev1.PodRunning)
				n.hv.Kill(uid, "killed")
				n.await(2*time.Minute, "it runs again", func() bool {
					s := n.status()
					return s.ContainerStatuses[0].RestartCount == 1 && s.ContainerStatuses[0].State.Running != nil
				})
				init := n.status().InitContainerStatuses[0]
				assert.Equal(t, int32(1), init.RestartCount)
				assert.True(t, init.Ready)
				assert.Contains(t, n.events.String(), "PodVMEnded")
				started := 0
				for i, e := range n.events.All() {
					if strings.HasPrefix(e, "Normal Started") && n.events.About()[i].FieldPath == "spec.initContainers{init}" {
						started++
					}
				}
				assert.Equal(t, 2, started, "events tell of it")
			})
		})
	}
}

func TestWorkThatTheNodesShutdownCutShortGoesOn(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyOnFailure, "trap 'exit 0' TERM; sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		require.NoError(t, n.manager.Shutdown(t.Context(), false))
		n.restart(withStatus(p, n.status()))
		n.await(time.Minute, "running again", func() bool {
			return n.container().State.Running != nil && n.container().RestartCount == 1
		})
		assert.Equal(t, corev1.PodRunning, n.status().Phase)
	})
}

func TestADebuggerJoinsAPodThatRuns(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		debug, barred := member("debug", "exit 7"), member("barred", "exit 0")
		barred.SecurityContext = &corev1.SecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Level: "s0"}}
		for _, c := range []corev1.Container{debug, barred} {
			p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{
				EphemeralContainerCommon: corev1.EphemeralContainerCommon(c),
			})
		}
		n.sync(p)
		n.await(time.Minute, "it ended", func() bool {
			s := n.status()
			return len(s.EphemeralContainerStatuses) == 2 && s.EphemeralContainerStatuses[0].State.Terminated != nil
		})
		s := n.status()
		assert.Equal(t, int32(7), s.EphemeralContainerStatuses[0].State.Terminated.ExitCode)
		assert.Nil(t, s.EphemeralContainerStatuses[0].Started)
		assert.Equal(t, corev1.PodRunning, s.Phase)
		assert.Equal(t, "UnsupportedField", waitingReason(s.EphemeralContainerStatuses, "barred"))
		assert.Equal(t, 1, n.events.Count("Warning UnsupportedField Container is not started: spec.ephemeralContainers[1].securityContext.seLinuxOptions"), n.events)
		vm, ok := n.vm()
		require.True(t, ok)
		assert.Equal(t, []string{"app", "debug"}, podvm.Containers(vm.Spec))
		require.NotNil(t, n.hv.Guest(uid))

		// A new boot does not start it again, nor does it forget it.
		n.hv.Kill(uid, "killed")
		n.await(2*time.Minute, "the pod runs again", func() bool {
			c := n.container()
			return c.RestartCount == 1 && c.State.Running != nil
		})
		assert.Equal(t, int32(7), n.status().EphemeralContainerStatuses[0].State.Terminated.ExitCode)
	})
}

func TestADebuggerBringsItsVolume(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := withConfigMap(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		mounts := p.Spec.Containers[0].VolumeMounts
		p.Spec.Containers[0].VolumeMounts = nil
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		_, filled := n.hv.Guest(uid).Files("config")
		assert.False(t, filled, "nobody mounts it")
		debug := member("debug", "sleep 1")
		debug.VolumeMounts = mounts
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon(debug)}}
		n.sync(p)
		n.await(time.Minute, "it ended", func() bool {
			s := n.status()
			return len(s.EphemeralContainerStatuses) == 1 && s.EphemeralContainerStatuses[0].State.Terminated != nil
		})
		_, filled = n.hv.Guest(uid).Files("config")
		assert.True(t, filled)
	})
}

func TestAnotherImageTakesThePlaceOfAContainer(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		before := n.container()
		p.Spec.Containers[0].Image = "example.com/other:1"
		n.sync(p)
		n.await(time.Minute, "the other image runs", func() bool {
			c := n.container()
			return c.RestartCount == 1 && c.State.Running != nil
		})
		after := n.container()
		assert.Equal(t, "example.com/other:1", after.Image)
		assert.NotEqual(t, before.ContainerID, after.ContainerID)
		assert.Equal(t, before.ContainerID, after.LastTerminationState.Terminated.ContainerID)
		assert.Equal(t, 1, n.count("Create"), "the VM is the same")
	})
}

func TestADeadlineFailsThePod(t *testing.T) {
	deadline := func(seconds int64) *corev1.Pod {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		p.Spec.ActiveDeadlineSeconds = &seconds
		return p
	}
	exceeded := func(t *testing.T, n *node) {
		t.Helper()
		n.awaitPhase(corev1.PodFailed)
		s := n.status()
		assert.Equal(t, "DeadlineExceeded", s.Reason)
		assert.Equal(t, "Pod was active on the node longer than the specified deadline", s.Message)
		require.NotNil(t, s.ContainerStatuses[0].State.Terminated)
		assert.Equal(t, 1, n.events.Count("Normal DeadlineExceeded"), n.events)
	}
	t.Run("that runs", func(t *testing.T) {
		onNode(t, func(t *testing.T, n *node) {
			n.manager.Sync(deadline(10))
			n.awaitPhase(corev1.PodRunning)
			exceeded(t, n)
			assert.InDelta(t, 10, time.Since(n.status().StartTime.Time).Seconds(), 3)
		})
	})
	t.Run("whose image never comes", func(t *testing.T) {
		onNode(t, func(t *testing.T, n *node) {
			n.store.Gate = make(chan struct{})
			n.manager.Sync(deadline(10))
			exceeded(t, n)
			n.await(time.Minute, "nothing runs", func() bool {
				vm, ok := n.vm()
				return !ok || vm.State != "running"
			})
		})
	})
	t.Run("that gets one later", func(t *testing.T) {
		onNode(t, func(t *testing.T, n *node) {
			p := pod(corev1.RestartPolicyAlways, "sleep 10000")
			n.manager.Sync(p)
			n.awaitPhase(corev1.PodRunning)
			n.sync(deadline(10))
			exceeded(t, n)
		})
	})
	t.Run("that ended before it, while nobody looked", func(t *testing.T) {
		onNode(t, func(t *testing.T, n *node) {
			p := deadline(20)
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			p.Spec.Containers[0].Command = fakeguest.Script("sleep 5")
			n.manager.Sync(p)
			n.awaitPhase(corev1.PodRunning)
			p = withStatus(p, n.status())
			n.stop()
			sleep(time.Minute)
			n.start()
			n.manager.Resync([]*corev1.Pod{p})
			n.awaitPhase(corev1.PodSucceeded)
		})
	})
}

func TestSeveralContainersSurviveARestartOfTheProgram(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		p.Spec.InitContainers = []corev1.Container{member("init", "sleep 5")}
		n.manager.Sync(p)
		n.await(time.Minute, "it initializes", func() bool {
			s := n.status()
			return len(s.InitContainerStatuses) == 1 && s.InitContainerStatuses[0].State.Running != nil
		})
		n.restart(withStatus(p, n.status()))
		n.awaitPhase(corev1.PodRunning)
		s := n.status()
		assert.Zero(t, s.InitContainerStatuses[0].RestartCount)
		assert.Zero(t, s.ContainerStatuses[0].RestartCount)
		assert.Equal(t, 1, n.count("Create"))
	})
}
