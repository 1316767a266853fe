package operations_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/operations"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/images/imagestest"
	"github.com/virtual-kubelet/vic/operations/volumes"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

func (n *node) log(opts podvm.LogOptions) string {
	n.t.Helper()
	r, err := n.manager.Logs(n.t.Context(), operations.Container{Namespace: "default", Name: "web", Container: "app"}, opts)
	require.NoError(n.t, err)
	defer func() { _ = r.Close() }() // only read from
	b, err := io.ReadAll(r)
	require.NoError(n.t, err)
	return string(b)
}

func TestPodRunsAndIsDeleted(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "echo hello; sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		s := n.status()
		assert.Equal(t, "10.9.0.2", s.PodIP)
		assert.Equal(t, "192.0.2.1", s.HostIP)
		assert.Equal(t, "example.com/app:1", s.ContainerStatuses[0].Image)
		assert.NotEmpty(t, s.ContainerStatuses[0].ImageID)
		assert.Equal(t, 1, n.events.Count("Normal Pulling"), n.events)
		assert.Equal(t, 1, n.events.Count("Normal Pulled Successfully pulled image"), n.events)
		assert.Equal(t, 1, n.events.Count("Normal Started"), n.events)
		assert.Equal(t, "spec.containers{app}", n.events.About()[0].FieldPath)

		n.manager.Sync(deleted(p, 30))
		n.await(time.Minute, "finished", func() bool {
			e, _ := n.pods.Get(uid)
			return e.Finished
		})
		require.NotNil(t, n.container().State.Terminated)
		assert.Equal(t, "hello\n", n.log(podvm.LogOptions{Tail: -1}))

		n.manager.Forget(uid)
		n.awaitGone()
		assert.Equal(t, 1, n.volumes.forgot)
	})
}

func TestImageIsPulledWhileTheVMBootsAndHotAdded(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.store.Gate = make(chan struct{})
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.await(time.Minute, "guest is configured", func() bool {
			return n.hv.Guest(uid) != nil && n.hv.Guest(uid).Pod() != nil
		})
		assert.Equal(t, 1, n.events.Count("Normal Pulling"), n.events)
		close(n.store.Gate)
		n.awaitPhase(corev1.PodRunning)
		assert.Equal(t, 1, n.count("Update"))
	})
}

func TestImageThatIsHereIsInTheVMFromTheStart(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.store.Local["example.com/app:1"] = imagestest.Image("example.com/app:1")
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.awaitPhase(corev1.PodRunning)
		assert.Zero(t, n.count("Update"))
		assert.Equal(t, 1, n.events.Count("Normal Pulled Container image \"example.com/app:1\" already present on machine"), n.events)
	})
}

func TestFinishedPodFreesItsVMAndKeepsItsLogs(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyNever, "echo done; exit 3")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodFailed)
		n.await(time.Minute, "VM is off", func() bool {
			vm, ok := n.vm()
			return ok && vm.State == portlayer.StateStopped
		})
		assert.EqualValues(t, 3, n.container().State.Terminated.ExitCode)
		assert.Equal(t, "done\n", n.log(podvm.LogOptions{Tail: -1}))

		n.restart(withStatus(p, n.status()))
		sleep(5 * time.Minute)
		assert.Equal(t, 1, n.count("PowerOn"), "it is not started again")
		assert.Equal(t, "done\n", n.log(podvm.LogOptions{Tail: -1}))
		assert.Zero(t, n.events.Count("Warning"), n.events)
	})
}

func TestPodWithRefusedFieldWaits(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 1")
		p.Spec.HostNetwork = true
		n.manager.Sync(p)
		sleep(time.Second)
		assert.Equal(t, "UnsupportedField", n.container().State.Waiting.Reason)
		sleep(5 * time.Minute)
		assert.Contains(t, n.container().State.Waiting.Message, "spec.hostNetwork")
		assert.Equal(t, 1, n.events.Count("Warning UnsupportedField"), n.events)
		assert.Empty(t, n.hv.Calls())
		assert.Zero(t, n.store.Pulls())

		n.manager.Sync(deleted(p, 30))
		n.manager.Forget(uid)
		n.awaitGone()
	})
}

func TestPodWithoutMemoryForItIsRejected(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 1")
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: quantity("100Gi")}
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodFailed)
		assert.Equal(t, "OutOfmemory", n.status().Reason)
		assert.Contains(t, n.status().Message, "Node didn't have enough resource: memory")
		assert.Zero(t, n.count("Create"))
	})
}

func TestBusyHypervisorFailsNoPod(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.hv.Fail("Create", portlayer.ErrBusy)
		n.manager.Sync(pod(corev1.RestartPolicyNever, "sleep 10000"))
		sleep(2 * time.Minute)
		assert.Equal(t, corev1.PodPending, n.status().Phase)
		assert.Equal(t, "CreatePodSandboxError", n.container().State.Waiting.Reason)
		failures := n.events.Count("Warning FailedCreatePodSandBox")
		assert.True(t, 5 <= failures && failures <= 8, "tries with back-off: %d", failures)

		n.hv.Fail("Create", nil)
		n.await(2*time.Minute, "running", func() bool { return n.status().Phase == corev1.PodRunning })
	})
}

func TestDeletionCancelsACreationInFlight(t *testing.T) {
	tests := map[string]time.Duration{
		"before anything was done": 0,
		"while the VM boots":       time.Second,
	}
	for name, after := range tests {
		t.Run(name, func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				n.store.Gate = make(chan struct{})
				p := pod(corev1.RestartPolicyAlways, "sleep 10000")
				n.manager.Sync(p)
				if after > 0 {
					sleep(after)
				}
				began := time.Now()
				n.manager.Sync(deleted(p, 30))
				n.await(time.Minute, "finished", func() bool {
					e, _ := n.pods.Get(uid)
					return e.Finished
				})
				assert.Less(t, time.Since(began), 15*time.Second)
				n.manager.Forget(uid)
				n.awaitGone()
				assert.Zero(t, n.store.Pulls())
			})
		})
	}
}

func TestBadImageShowsTheKubeletsReasons(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.store.Fail(errors.New("no such thing"))
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.await(10*time.Second, "ErrImagePull", func() bool {
			w := n.container().State.Waiting
			return w != nil && w.Reason == "ErrImagePull"
		})
		n.await(10*time.Second, "ImagePullBackOff", func() bool {
			w := n.container().State.Waiting
			return w != nil && w.Reason == "ImagePullBackOff"
		})
		assert.Contains(t, n.container().State.Waiting.Message, "no such thing")
		sleep(75*time.Second - time.Since(epoch)%time.Second)
		assert.Equal(t, 4, n.store.Pulls(), "at 0, 10, 30 and 70 seconds")
		assert.NotZero(t, n.events.Count("Normal BackOff Back-off pulling image"), n.events)

		n.store.Fail(nil)
		p = p.DeepCopy()
		p.Generation, p.Spec.Containers[0].Image = 2, "example.com/app:2"
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		assert.Equal(t, "example.com/app:2", n.container().Image)
	})
}

func TestPullsBackOffAsTheKubelets(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.store.Fail(errors.New("no such thing"))
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		began := time.Now()
		n.manager.Sync(p)
		tries := []int{0, 10, 30, 70, 150, 310, 610, 910, 1210} // 10 s, doubled, at most 300 s
		for i, at := range tries {
			sleep(time.Duration(at)*time.Second - time.Since(began) - time.Second)
			assert.Equal(t, i, n.store.Pulls(), "before %d s", at)
			sleep(2 * time.Second)
			assert.Equal(t, i+1, n.store.Pulls(), "after %d s", at)
		}

		// Another image begins anew.
		p = p.DeepCopy()
		p.Generation, p.Spec.Containers[0].Image = 2, "example.com/app:2"
		n.manager.Sync(p)
		sleep(12 * time.Second)
		assert.Equal(t, len(tries)+2, n.store.Pulls())
	})
}

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func TestMissingEnvironmentWaitsForIt(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.env.fail(&environment.ConfigError{Reason: environment.ReasonCreateContainerConfigError, Message: `secret "s" not found`})
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.await(time.Minute, "waiting", func() bool {
			w := n.container().State.Waiting
			return w != nil && w.Reason == "CreateContainerConfigError"
		})
		assert.Equal(t, `secret "s" not found`, n.container().State.Waiting.Message)
		n.env.fail(nil)
		n.await(time.Minute, "running", func() bool { return n.status().Phase == corev1.PodRunning })
	})
}

func TestVolumesAreThereBeforeContainersAndFollowTheCluster(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.volumes.set("", &volumes.MountError{Reason: volumes.ReasonFailedMount, Message: `MountVolume.SetUp failed for volume "config" : configmap "settings" not found`})
		p := withConfigMap(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.manager.Sync(p)
		n.await(time.Minute, "mount failure", func() bool { return n.events.Count("Warning FailedMount") > 0 })
		assert.Equal(t, corev1.PodPending, n.status().Phase)

		n.volumes.set("one", nil)
		n.await(2*time.Minute, "running", func() bool { return n.status().Phase == corev1.PodRunning })
		content := func() string {
			f, ok := n.hv.Guest(uid).Files("config")
			require.True(t, ok)
			return string(f.Files[0].Data)
		}
		assert.Equal(t, "one", content())
		sleep(10 * time.Minute)
		var puts int
		for _, c := range n.hv.Guest(uid).Calls() {
			if c == "PUT /v1/files" {
				puts++
			}
		}
		assert.Equal(t, 1, puts, "what has not changed is not sent again")

		n.volumes.set("two", nil)
		sleep(90 * time.Second)
		assert.Equal(t, "two", content())

		n.volumes.set("three", nil)
		p = p.DeepCopy()
		p.Labels = map[string]string{"new": "label"}
		n.manager.Sync(p)
		sleep(time.Second)
		assert.Equal(t, "three", content(), "labels show at once")
	})
}

func TestVMThatEndedIsStartedAgain(t *testing.T) {
	tests := map[string]struct {
		end   func(*node)
		count string // the hypervisor's method that brings it back
	}{
		"when it was killed":    {func(n *node) { n.hv.Kill(uid, "signal: killed") }, "PowerOn"},
		"when it was destroyed": {func(n *node) { n.hv.Vanish(uid) }, "Create"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				n.manager.Sync(pod(corev1.RestartPolicyAlways, "echo hello; sleep 10000"))
				n.awaitPhase(corev1.PodRunning)
				before := n.count(tt.count)
				tt.end(n)
				n.await(time.Minute, "end is shown", func() bool {
					return n.container().State.Waiting != nil && n.container().LastTerminationState.Terminated != nil
				})
				assert.Equal(t, "hello\n", n.log(podvm.LogOptions{Tail: -1, Previous: true}), "while it waits")
				n.await(time.Minute, "running again", func() bool {
					return n.container().RestartCount == 1 && n.container().State.Running != nil
				})
				assert.Equal(t, before+1, n.count(tt.count))
				last := n.container().LastTerminationState.Terminated
				require.NotNil(t, last)
				assert.EqualValues(t, 137, last.ExitCode)
				assert.Equal(t, 1, n.events.Count("Warning PodVMEnded"), n.events)
				assert.Equal(t, "hello\n", n.log(podvm.LogOptions{Tail: -1, Previous: true}))
			})
		})
	}
}

func TestVMThatEndedWithPolicyNeverFailsThePod(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(pod(corev1.RestartPolicyNever, "sleep 10000"))
		n.awaitPhase(corev1.PodRunning)
		n.hv.Kill(uid, "signal: killed")
		n.awaitPhase(corev1.PodFailed)
		sleep(10 * time.Minute)
		assert.Equal(t, 1, n.count("PowerOn"))
		assert.EqualValues(t, 137, n.container().State.Terminated.ExitCode)
	})
}

func TestVMThatEndsAgainAndAgainIsBackedOff(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		var starts []time.Time
		for i := range int32(4) {
			n.await(2*time.Minute, "running", func() bool {
				return n.container().State.Running != nil && n.container().RestartCount == i
			})
			starts = append(starts, time.Now())
			n.hv.Kill(uid, "signal: killed")
			sleep(time.Second)
			if w := n.container().State.Waiting; i > 0 {
				require.NotNil(t, w)
				assert.Equal(t, "CrashLoopBackOff", w.Reason)
			}
		}
		assert.Less(t, starts[1].Sub(starts[0]), 5*time.Second)
		assert.InDelta(t, 10+2, starts[2].Sub(starts[1]).Seconds(), 2)
		assert.InDelta(t, 20+2, starts[3].Sub(starts[2]).Seconds(), 2)
	})
}

func TestSilentGuestIsReported(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.awaitPhase(corev1.PodRunning)
		n.hv.Silence(uid, true)
		n.await(3*time.Minute, "not ready", func() bool { return readyReason(n.status()) == "GuestUnreachable" })
		sleep(5 * time.Minute)
		assert.Equal(t, 1, n.events.Count("Warning GuestUnreachable"), n.events)
		n.hv.Silence(uid, false)
		n.await(3*time.Minute, "ready", func() bool { return readyReason(n.status()) == "" })
		assert.Zero(t, n.container().RestartCount)
	})
}

func TestABootThatIsStuckIsReportedWithItsConsole(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.hv.Slow(time.Hour)
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.await(5*time.Minute, "the event", func() bool { return n.events.Count("Warning FailedCreatePodSandBox") > 0 })
		assert.Contains(t, n.events.String(), "guest unreachable")
		assert.Contains(t, n.events.String(), "its console ends with: boot ")
		assert.Equal(t, corev1.PodPending, n.status().Phase)
		n.hv.Slow(0)
		n.awaitPhase(corev1.PodRunning)
		assert.GreaterOrEqual(t, n.count("PowerOn"), 2, "it was booted anew")
		assert.Zero(t, n.container().RestartCount, "nothing ran before")
	})
}

func readyReason(s corev1.PodStatus) string {
	for _, c := range s.Conditions {
		if c.Type == corev1.PodReady {
			return c.Reason
		}
	}
	return ""
}

func TestGracePeriodEndsWithThePowerCut(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		n.hv.Silence(uid, true)
		began := time.Now()
		n.manager.Sync(deleted(p, 30))
		n.await(2*time.Minute, "finished", func() bool {
			e, _ := n.pods.Get(uid)
			return e.Finished
		})
		took := time.Since(began)
		assert.True(t, took > 30*time.Second && took < 80*time.Second, took)
	})
}

func TestForcedDeletionStillTearsDown(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		n.manager.Forget(uid)
		_, found := n.pods.Lookup("default", "web")
		assert.False(t, found)
		n.manager.Sync(p) // late
		n.awaitGone()
		sleep(time.Minute)
		assert.Equal(t, 1, n.count("Create"))
	})
}

func TestImageThatWasRemovedMeanwhileIsPulledAgain(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		p.Spec.Containers[0].ImagePullPolicy = corev1.PullIfNotPresent
		ref := p.Spec.Containers[0].Image
		n.store.Local[ref], n.store.Removed = imagestest.Image(ref), ref
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		assert.Equal(t, 1, n.store.Pulls())
	})
}
