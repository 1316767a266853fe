package operations_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

func TestCrashAtAnyTimeLeavesOneVMAndRestartsNothing(t *testing.T) {
	// The VM boots in 2 s; steps follow each other at once.
	for _, after := range []time.Duration{
		0, time.Millisecond, time.Second, 2 * time.Second, 2050 * time.Millisecond, 2051 * time.Millisecond,
		2100 * time.Millisecond, 3 * time.Second, time.Minute,
	} {
		t.Run(fmt.Sprintf("after %v", after), func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				p := withConfigMap(pod(corev1.RestartPolicyAlways, "echo hello; sleep 10000"))
				n.manager.Sync(p)
				sleep(after)
				n.restart(withStatus(p, n.status()))
				n.awaitPhase(corev1.PodRunning)
				sleep(2 * time.Minute)
				assert.Equal(t, 1, n.count("Create"))
				assert.Zero(t, n.container().RestartCount)
				assert.Nil(t, n.container().LastTerminationState.Terminated)
				assert.Equal(t, "hello\n", n.log(podvm.LogOptions{Tail: -1}))
				assert.Zero(t, n.events.Count("Warning"), n.events)
			})
		})
	}
}

func TestCrashWhileAVMIsRestartedCountsOnce(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, time.Second, 2050 * time.Millisecond, 2100 * time.Millisecond} {
		t.Run(fmt.Sprintf("after %v", after), func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				p := pod(corev1.RestartPolicyAlways, "echo hello; sleep 10000")
				n.manager.Sync(p)
				n.awaitPhase(corev1.PodRunning)
				n.hv.Kill(uid, "signal: killed")
				sleep(after)
				n.restart(withStatus(p, n.status()))
				n.await(time.Minute, "running", func() bool { return n.container().State.Running != nil })
				assert.EqualValues(t, 1, n.container().RestartCount)
				assert.EqualValues(t, 137, n.container().LastTerminationState.Terminated.ExitCode)
			})
		})
	}
}

func TestVMThatWasKilledWhileNobodyLookedIsStartedAgain(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "echo hello; sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		before := n.status()
		n.stop()
		n.hv.Kill(uid, "signal: killed")
		n.start()
		n.manager.Resync([]*corev1.Pod{withStatus(p, before)})
		n.await(time.Minute, "running", func() bool {
			return n.container().State.Running != nil && n.container().RestartCount == 1
		})
		assert.Equal(t, "hello\n", n.log(podvm.LogOptions{Tail: -1, Previous: true}))
		assert.Equal(t, 1, n.events.Count("Warning PodVMEnded"), n.events)
	})
}

func TestNodeShutdown(t *testing.T) {
	tests := map[string]struct {
		policy corev1.RestartPolicy
		check  func(t *testing.T, n *node)
	}{
		"runs a pod again when the node is back": {corev1.RestartPolicyAlways, func(t *testing.T, n *node) {
			t.Helper()
			n.await(time.Minute, "running again", func() bool {
				return n.container().State.Running != nil && n.container().RestartCount == 1
			})
			assert.Zero(t, n.events.Count("Warning"), n.events)
		}},
		"fails a pod that is never restarted": {corev1.RestartPolicyNever, func(t *testing.T, n *node) {
			t.Helper()
			n.awaitPhase(corev1.PodFailed)
			sleep(5 * time.Minute)
			assert.Equal(t, 1, n.count("PowerOn"))
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				p := pod(tt.policy, "sleep 10000")
				n.manager.Sync(p)
				n.awaitPhase(corev1.PodRunning)
				require.NoError(t, n.manager.Shutdown(t.Context(), false))
				vm, ok := n.vm()
				require.True(t, ok)
				assert.Equal(t, portlayer.StateStopped, vm.State)
				n.restart(withStatus(p, n.status()))
				tt.check(t, n)
			})
		})
	}
}

func TestShutdownThatKeepsPodsLeavesThemRunning(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		before, _ := n.vm()
		require.NoError(t, n.manager.Shutdown(t.Context(), true))
		n.restart(withStatus(p, n.status()))
		sleep(time.Minute)
		after, _ := n.vm()
		assert.Equal(t, before.StartedAt, after.StartedAt)
		assert.NotNil(t, n.container().State.Running)
	})
}

func TestShutdownCutsThePowerWhenItsTimeIsOver(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.awaitPhase(corev1.PodRunning)
		n.hv.Silence(uid, true)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.NoError(t, n.manager.Shutdown(ctx, false))
		vm, _ := n.vm()
		assert.Equal(t, portlayer.StateStopped, vm.State)
	})
}

func TestShutdownCutsThePowerOfAllAtOnce(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		var pods []types.UID
		for i := range 6 {
			p := pod(corev1.RestartPolicyAlways, "sleep 10000")
			p.Name, p.UID = fmt.Sprintf("web-%d", i), types.UID(fmt.Sprintf("uid-%d", i))
			pods = append(pods, p.UID)
			n.manager.Sync(p)
		}
		for _, uid := range pods {
			n.await(time.Minute, "running", func() bool {
				e, ok := n.pods.Get(uid)
				return ok && e.Pod.Status.Phase == corev1.PodRunning
			})
			n.hv.Silence(string(uid), true)
		}
		hurry, cancel := context.WithCancel(t.Context())
		cancel()
		began := time.Now()
		require.NoError(t, n.manager.Shutdown(hurry, false))
		assert.Less(t, time.Since(began), 10*time.Second)
		vms, err := n.hv.List(t.Context())
		require.NoError(t, err)
		for _, vm := range vms {
			assert.Equal(t, portlayer.StateStopped, vm.State)
		}
	})
}

func TestShutdownStopsVMsWhosePodsWereNeverSeen(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.awaitPhase(corev1.PodRunning)
		n.stop()
		n.start()
		require.NoError(t, n.manager.Shutdown(t.Context(), false))
		vm, _ := n.vm()
		assert.Equal(t, portlayer.StateStopped, vm.State)
	})
}

func TestOrphansAreCollectedAfterAGraceTime(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		n.stop()
		n.start()
		e, ok := n.pods.Lookup("default", "web")
		require.True(t, ok)
		assert.True(t, e.Restored)
		sleep(10 * time.Minute)
		_, ok = n.vm()
		assert.True(t, ok, "before the pods were listed nothing is an orphan")

		n.manager.Resync(nil)
		sleep(20 * time.Second)
		_, ok = n.vm()
		assert.True(t, ok, "not before the grace time")
		n.await(time.Minute, "collected", func() bool {
			_, ok := n.vm()
			_, known := n.pods.Get(uid)
			return !ok && !known
		})
	})
}

func TestVMOfAnotherNodeIsLeftAlone(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		_, err := n.hv.Create(t.Context(), portlayer.Spec{
			ID: "other", Owner: portlayer.Owner{Kind: "Pod", UID: "other", Namespace: "default", Name: "other", Node: "another"},
			Size: portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 128 << 20},
		})
		require.NoError(t, err)
		n.manager.Resync(nil)
		sleep(time.Hour)
		vms, err := n.hv.List(t.Context())
		require.NoError(t, err)
		assert.Len(t, vms, 1)
	})
}

func TestAVMOfAnotherClusterIsLeftAlone(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.awaitPhase(corev1.PodRunning)
		n.cluster = "another"
		n.restart()
		sleep(5 * time.Minute)
		vm, ok := n.vm()
		require.True(t, ok)
		assert.Equal(t, portlayer.StateRunning, vm.State)
		_, known := n.pods.Get(uid)
		assert.False(t, known)
	})
}

// manyPods returns pods that run on the node: those with the numbers from first to below end.
func (n *node) manyPods(first, end int) []*corev1.Pod {
	n.t.Helper()
	var pods []*corev1.Pod
	for i := first; i < end; i++ {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		p.Name, p.UID = fmt.Sprintf("web-%d", i), types.UID(fmt.Sprintf("uid-%d", i))
		n.manager.Sync(p)
		pods = append(pods, p)
	}
	n.await(5*time.Minute, "all run", func() bool {
		for _, p := range pods {
			if e, _ := n.pods.Get(p.UID); e.Pod == nil || e.Pod.Status.Phase != corev1.PodRunning {
				return false
			}
		}
		return true
	})
	return pods
}

// vmCount is how many VMs there are.
func (n *node) vmCount() int {
	n.t.Helper()
	vms, err := n.hv.List(n.t.Context())
	require.NoError(n.t, err)
	return len(vms)
}

func TestMostVMsGoOnlyWhenAnAdministratorSaysSo(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		pods := n.manyPods(0, 6)
		n.restart(pods[:2]...)
		sleep(2 * time.Minute)
		assert.Equal(t, 6, n.vmCount(), "four of six may be no mistake, but nobody knows")
		held := n.manager.Conditions()[0]
		assert.True(t, held.True)
		assert.Equal(t, operations.ConditionVMsWithoutPods, held.Type)
		command := fmt.Sprintf("kubectl annotate --overwrite node %s %s=", nodeName, operations.RemoveAnnotation)
		assert.Regexp(t, command+"4-[0-9a-f]{8}$", held.Message)
		_, value, _ := strings.Cut(held.Message, command)
		others := value[:2] + "00000000"

		n.restart(append(pods[:2:2], n.manyPods(6, 10)...)...)
		sleep(2 * time.Minute)
		assert.Equal(t, 10, n.vmCount(), "what is held is held after a restart too, and when it is less than half")
		n.annotate(others)
		sleep(2 * time.Minute)
		assert.Equal(t, 10, n.vmCount(), "what was said of others says nothing of these")
		n.annotate(value)
		n.await(time.Minute, "they are removed", func() bool { return n.vmCount() == 6 })
		assert.Equal(t, portlayer.Condition{
			Type: operations.ConditionVMsWithoutPods, Reason: "NoneWaits", Message: "no pod VM waits for its removal",
		}, n.manager.Conditions()[0])
	})
}

func (n *node) annotate(value string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.facts.Object = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{operations.RemoveAnnotation: value}}}
}

func TestVMsThatWaitAreTheirPodsWhenTheseAreBack(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		pods := n.manyPods(0, 4)
		n.restart()
		sleep(2 * time.Minute)
		require.True(t, n.manager.Conditions()[0].True)
		for _, p := range pods[1:] {
			n.manager.Sync(p)
		}
		n.await(time.Minute, "one waits", func() bool { return strings.HasPrefix(n.manager.Conditions()[0].Message, "1 pod VM") })
		n.restart(pods[1:]...)
		sleep(2 * time.Minute)
		assert.Equal(t, 4, n.vmCount())
		assert.Equal(t, 4, n.count("Create"))
		n.restart(pods...)
		sleep(2 * time.Minute)
		assert.False(t, n.manager.Conditions()[0].True)
	})
}

func TestFewOrphansGoByThemselves(t *testing.T) {
	tests := map[string]struct{ all, kept int }{
		"three of three": {3, 0},
		"four of eight":  {8, 4},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				pods := n.manyPods(0, tt.all)
				n.restart(pods[:tt.kept]...)
				sleep(2 * time.Minute)
				assert.Equal(t, tt.kept, n.vmCount())
			})
		})
	}
}

func TestVMsOfFinishedPodsGoByThemselves(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		for i := range 5 {
			p := pod(corev1.RestartPolicyNever, "echo done")
			p.Name, p.UID = fmt.Sprintf("job-%d", i), types.UID(fmt.Sprintf("uid-%d", i))
			n.manager.Sync(p)
			n.await(time.Minute, "it is finished", func() bool { return n.phase(p.UID) == corev1.PodSucceeded })
		}
		n.await(time.Minute, "all are off", func() bool {
			vms, err := n.hv.List(t.Context())
			require.NoError(t, err)
			return !slices.ContainsFunc(vms, func(vm portlayer.VM) bool { return vm.State != portlayer.StateStopped })
		})
		n.restart()
		n.await(2*time.Minute, "the VMs are gone", func() bool { return n.vmCount() == 0 })
		assert.False(t, n.manager.Conditions()[0].True)
	})
}

func TestPodOfTheSameNameIsAnotherPod(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		n.manager.Forget(uid)
		next := p.DeepCopy()
		next.UID = "uid-2"
		n.manager.Sync(next)
		n.await(time.Minute, "the next one runs", func() bool {
			e, ok := n.pods.Lookup("default", "web")
			return ok && e.Pod.UID == "uid-2" && e.Pod.Status.Phase == corev1.PodRunning
		})
		n.await(time.Minute, "the former is gone", func() bool {
			_, ok := n.vm()
			return !ok
		})
		assert.Equal(t, 2, n.count("Create"))
	})
}

func TestDeletionWhileNobodyLookedIsDone(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		n.restart(withStatus(deleted(p, 30), n.status()))
		n.await(time.Minute, "finished", func() bool {
			e, _ := n.pods.Get(uid)
			return e.Finished
		})
		_, ok := n.vm()
		assert.False(t, ok)
		n.manager.Forget(uid)
		n.awaitGone()
	})
}

func TestRunEndsWhenPullsHaveEnded(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.store.Gate, n.store.Undo = make(chan struct{}), 3*time.Second
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		sleep(time.Second)
		require.Equal(t, 1, n.store.Pulling())
		n.stop()
		assert.Zero(t, n.store.Pulling(), "a pull that was called off undoes what it has begun before Run returns")
		n.start()
	})
}

func TestOrphanIsCollectedThoughNoRunLastsItsGraceTime(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.awaitPhase(corev1.PodRunning)
		for range 3 {
			n.restart()
			sleep(15 * time.Second)
		}
		_, ok := n.vm()
		assert.False(t, ok, "45 s are more than the grace time of 30 s")
	})
}

func TestOrphanThatGotItsPodBackHasItsWholeGraceTimeAgain(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		n.restart()
		sleep(25 * time.Second)
		n.restart(p)
		sleep(25 * time.Second)
		n.restart()
		sleep(25 * time.Second)
		_, ok := n.vm()
		assert.True(t, ok)
	})
}

func TestPodWhoseObjectIsGoneIsTornDownAfterACrashWithoutTheAPI(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.awaitPhase(corev1.PodRunning)
		n.hv.Silence(uid, true) // so that its end takes a while
		n.manager.Forget(uid)
		sleep(100 * time.Millisecond)
		n.stop()
		_, ok := n.vm()
		require.True(t, ok)
		n.start()
		n.awaitGone()
	})
}

func TestBackOffOfAVMGoesOnOverACrash(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		var starts []time.Time
		for i := range int32(4) {
			n.await(2*time.Minute, "running", func() bool {
				return n.container().State.Running != nil && n.container().RestartCount == i
			})
			starts = append(starts, time.Now())
			n.hv.Kill(uid, "signal: killed")
			sleep(time.Second)
			n.restart(withStatus(p, n.status()))
		}
		assert.Less(t, starts[1].Sub(starts[0]), 5*time.Second)
		assert.InDelta(t, 10+2, starts[2].Sub(starts[1]).Seconds(), 2)
		assert.InDelta(t, 20+2, starts[3].Sub(starts[2]).Seconds(), 2)
		assert.Equal(t, 4, n.events.Count("Warning PodVMEnded"), n.events)
	})
}

// TestAVMThatNobodySeesIsNotTakenForMade has the hypervisor refuse a VM whose name is taken by one that it does not list.
func TestAVMThatNobodySeesIsNotTakenForMade(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.hv.Fail("Create", portlayer.ErrExists)
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep"))
		n.await(time.Minute, "the pod says what it waits for", func() bool {
			w := n.container().State.Waiting
			return w != nil && w.Reason == "CreatePodSandboxError" && strings.Contains(w.Message, "a VM of that name is there")
		})
		require.Contains(t, n.events.String(), "FailedCreatePodSandBox")
		sleep(10 * time.Minute)
		require.Less(t, n.count("Create"), 25, "it is tried at most once a minute")
		n.hv.Fail("Create", nil)
		n.awaitPhase(corev1.PodRunning)
	})
}

func TestAPodThatRanBeforeWaitsWhileItsVMMayBeOneThatCannotBeRead(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		ran := withStatus(p, n.status())
		n.hv.Vanish(uid) // its host is away
		n.hv.Hide("default-web")
		n.runDir = t.TempDir()
		creates := n.count("Create")
		n.restart(ran)
		n.await(time.Minute, "the pod says what it waits for", func() bool {
			return strings.Contains(n.events.String(), "its VM may be one of those that can't be read: default-web")
		})
		require.Equal(t, creates, n.count("Create"))
		other := pod(corev1.RestartPolicyAlways, "sleep")
		other.UID, other.Name = "uid-2", "other"
		n.manager.Sync(other)
		n.await(time.Minute, "a pod that never ran has no such VM", func() bool { return n.count("Create") > creates })
		n.hv.Hide()
		n.await(2*time.Minute, "the pod runs", func() bool { _, ok := n.vm(); return ok })
	})
}
