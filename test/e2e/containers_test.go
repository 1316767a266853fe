//go:build e2e

package e2e_test

import (
	"context"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/virtual-kubelet/vic/internal/testregistry"
)

// container is one that runs a shell script in the test image.
func container(name, script string) corev1.Container {
	return corev1.Container{
		Name: name, Image: testImage, ImagePullPolicy: corev1.PullIfNotPresent, Command: []string{"/bin/sh", "-c", script},
	}
}

func sidecar(name, script string) corev1.Container {
	c := container(name, script)
	c.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyAlways)
	return c
}

func withInit(all ...corev1.Container) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.InitContainers = append(p.Spec.InitContainers, all...) }
}

func beside(all ...corev1.Container) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers = append(p.Spec.Containers, all...) }
}

// withShared gives all containers of the pod an emptyDir at /shared.
func withShared(p *corev1.Pod) {
	p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{
		Name: "shared", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}},
	})
	for _, all := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range all {
			all[i].VolumeMounts = append(all[i].VolumeMounts, corev1.VolumeMount{Name: "shared", MountPath: "/shared"})
		}
	}
}

// status is that of a container of any kind.
func status(p *corev1.Pod, name string) corev1.ContainerStatus {
	for _, all := range [][]corev1.ContainerStatus{
		p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses,
	} {
		for _, s := range all {
			if s.Name == name {
				return s
			}
		}
	}
	return corev1.ContainerStatus{}
}

// shown waits until kubectl get shows the pod with that STATUS.
func (c *cluster) shown(t *testing.T, p *corev1.Pod, want string) {
	t.Helper()
	c.eventually(t, p.Name+" is shown as "+want, func(context.Context) (bool, string) {
		out := c.kubectl(t, "-n", p.Namespace, "get", "pod", p.Name, "--no-headers")
		columns := strings.Fields(out)
		return len(columns) > 2 && columns[2] == want, out
	})
}

func TestAJobWithInitContainersAndASidecarCompletes(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := pod(ns, "", "echo main >> /shared/order; test -e /shared/sidecar", restart(corev1.RestartPolicyNever),
		withInit(
			container("one", "echo one >> /shared/order"),
			sidecar("sidecar", `echo sidecar >> /shared/order; touch /shared/sidecar; trap 'cat /shared/order; exit 0' TERM; while :; do sleep 1 & wait $!; done`),
			container("two", "echo two >> /shared/order"),
		), withShared)
	_, err := shared.client.BatchV1().Jobs(ns).Create(t.Context(), &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Name: "work"},
		Spec:       batchv1.JobSpec{Template: corev1.PodTemplateSpec{Spec: p.Spec}, BackoffLimit: ptr.To[int32](0)},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	shared.eventually(t, "the job completes", func(ctx context.Context) (bool, string) {
		job, err := shared.client.BatchV1().Jobs(ns).Get(ctx, "work", metav1.GetOptions{})
		require.NoError(t, err)
		return job.Status.Succeeded == 1, shared.kubectl(t, "-n", ns, "get", "pods")
	})
	pods, err := shared.client.CoreV1().Pods(ns).List(t.Context(), metav1.ListOptions{})
	require.NoError(t, err)
	require.Len(t, pods.Items, 1)
	got := &pods.Items[0]
	assert.Equal(t, "one\nsidecar\ntwo\nmain\n", shared.kubectl(t, "-n", ns, "logs", got.Name, "-c", "sidecar"), "the sidecar ends last")
	for _, name := range []string{"one", "two", "main", "sidecar"} {
		s := status(got, name)
		require.NotNil(t, s.State.Terminated, name)
		assert.Zero(t, s.State.Terminated.ExitCode, name)
		assert.Zero(t, s.RestartCount, name)
	}
	assert.True(t, status(got, "one").Ready)
	assert.Equal(t, "PodCompleted", conditionOf(got, corev1.PodInitialized).Reason)
	shared.shown(t, got, "Completed")
}

func conditionOf(p *corev1.Pod, kind corev1.PodConditionType) corev1.PodCondition {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return corev1.PodCondition{}
}

func TestAnInitContainerThatFails(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	once := shared.create(t, pod(ns, "once", "exit 0", restart(corev1.RestartPolicyNever), withInit(container("init", "echo oh dear; exit 3"))))
	again := shared.create(t, pod(ns, "again", sleepForever, withInit(
		container("init", "sleep 4"),
		container("flaky", "if [ -e /shared/tried ]; then exit 0; fi; touch /shared/tried; exit 1"),
	), withShared))

	shared.shown(t, again, "Init:0/2")
	got := shared.waitPod(t, again, "initializes", func(p *corev1.Pod) bool { return status(p, "init").State.Running != nil })
	assert.Equal(t, "containers with incomplete status: [init flaky]", conditionOf(got, corev1.PodInitialized).Message)
	assert.Equal(t, "PodInitializing", status(got, "main").State.Waiting.Reason)

	once = shared.waitPhase(t, once, corev1.PodFailed)
	shared.shown(t, once, "Init:Error")
	assert.EqualValues(t, 3, status(once, "init").State.Terminated.ExitCode)
	assert.Equal(t, "PodInitializing", status(once, "main").State.Waiting.Reason)
	assert.Equal(t, "oh dear\n", shared.kubectl(t, "-n", ns, "logs", "once", "-c", "init"))

	again = shared.waitReady(t, again)
	assert.EqualValues(t, 1, status(again, "flaky").RestartCount)
	assert.EqualValues(t, 1, status(again, "flaky").LastTerminationState.Terminated.ExitCode)
	assert.Zero(t, status(again, "main").RestartCount)
}

// heldBack is a registry on loopback that answers to nothing before release.
func heldBack(t *testing.T) (image string, release func()) {
	t.Helper()
	gate := make(chan struct{})
	registry, err := testregistry.Start(t.Context(), func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-gate:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		})
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = registry.Close() })
	image, err = registry.Push(t.Context(), "library/late:1", builtImage)
	require.NoError(t, err)
	return image, func() { close(gate) }
}

func TestImagesComeAtDifferentTimesAndChange(t *testing.T) {
	t.Parallel()
	image, release := heldBack(t)
	ns := shared.namespace(t)
	late := container("late", sleepForever)
	late.Image = image
	p := shared.create(t, pod(ns, "parts", sleepForever, beside(late)))
	p = shared.waitPod(t, p, "has one of two", func(p *corev1.Pod) bool { return status(p, "main").State.Running != nil })
	assert.Equal(t, corev1.PodPending, p.Status.Phase)
	require.NotNil(t, status(p, "late").State.Waiting)
	assert.Equal(t, "main\n", shared.kubectl(t, "-n", ns, "exec", "parts", "-c", "main", "--", "echo", "main"))
	release()
	p = shared.waitReady(t, p)
	before := status(p, "main").ContainerID

	shared.kubectl(t, "-n", ns, "set", "image", "pod/parts", "main="+registryImage)
	p = shared.waitPod(t, p, "runs the other image", func(p *corev1.Pod) bool {
		s := status(p, "main")
		return s.RestartCount == 1 && s.State.Running != nil
	})
	assert.Equal(t, before, status(p, "main").LastTerminationState.Terminated.ContainerID)
	assert.Equal(t, registryImage, status(p, "main").Image)
	assert.Zero(t, status(p, "late").RestartCount)
}

func TestContainersShareWhatAPodIs(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := pod(ns, "mates", "/testpod memory one; echo one > /dev/shm/text; echo one > /tmp/text; exec /testpod serve 127.0.0.1:8000",
		beside(container("two", "echo from two; "+sleepForever)))
	p.Spec.Hostname = "mate"
	shared.waitReady(t, shared.create(t, p))
	in := func(container, script string) string {
		return shared.kubectl(t, "-n", ns, "exec", "mates", "-c", container, "--", "/bin/sh", "-c", script)
	}
	shared.eventually(t, "one listens", func(context.Context) (bool, string) {
		out := in("two", "wget -q -O - http://localhost:8000/env 2>&1 || true")
		return strings.Contains(out, "HOSTNAME=mate"), out
	})
	assert.Equal(t, "one\n", in("two", "/testpod memory two"), "IPC")
	assert.Equal(t, "one\n", in("two", "cat /dev/shm/text"))
	const same = "cat /etc/hosts /etc/hostname /etc/resolv.conf; for ns in net ipc uts; do readlink /proc/self/ns/$ns; done"
	assert.Equal(t, in("main", same), in("two", same))
	assert.Equal(t, "mate\n", in("two", "hostname"))
	assert.Equal(t, "absent\n", in("two", "cat /tmp/text 2>/dev/null || echo absent"), "files are a container's own")
	assert.NotContains(t, in("two", "ps"), "testpod", "so are processes")

	// kubectl takes the containers in the order of a map.
	lines := func(args ...string) []string {
		return strings.Split(strings.TrimSpace(shared.kubectl(t, append([]string{"-n", ns, "logs", "mates", "--all-containers"}, args...)...)), "\n")
	}
	assert.ElementsMatch(t, []string{"one", "from two"}, lines())
	assert.ElementsMatch(t, []string{"[pod/mates/main] one", "[pod/mates/two] from two"}, lines("--prefix", "--tail=1"))
}

func TestContainersFailByThemselves(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	hungry := container("hungry", "x=a; while :; do x=$x$x; done")
	hungry.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
	once := container("once", "exit 4")
	once.RestartPolicy = ptr.To(corev1.ContainerRestartPolicyNever)
	p := shared.create(t, pod(ns, "mixed", sleepForever, beside(container("crash", "exit 3"), hungry, once)))
	p = shared.waitPod(t, p, "has two in a back-off", func(p *corev1.Pod) bool {
		for _, name := range []string{"crash", "hungry"} {
			if w := status(p, name).State.Waiting; w == nil || w.Reason != "CrashLoopBackOff" {
				return false
			}
		}
		return true
	})
	assert.Equal(t, "OOMKilled", status(p, "hungry").LastTerminationState.Terminated.Reason)
	assert.Equal(t, "Error", status(p, "crash").LastTerminationState.Terminated.Reason)
	assert.Equal(t, corev1.PodRunning, p.Status.Phase)
	assert.Zero(t, status(p, "main").RestartCount)
	assert.True(t, status(p, "main").Ready)
	require.NotNil(t, status(p, "once").State.Terminated, "its own policy is Never")
	assert.EqualValues(t, 4, status(p, "once").State.Terminated.ExitCode)
	assert.Contains(t, conditionOf(p, corev1.ContainersReady).Message, "containers with unready status: [crash hungry once]")
}

func TestActiveDeadline(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "late", sleepForever))
	p = shared.waitReady(t, p)
	passed := int64(metav1.Now().Sub(p.Status.StartTime.Time).Seconds())
	shared.kubectl(t, "-n", ns, "patch", "pod", "late", "-p", `{"spec":{"activeDeadlineSeconds":`+resource.NewQuantity(passed+5, resource.DecimalSI).String()+`}}`)
	p = shared.waitPhase(t, p, corev1.PodFailed)
	assert.Equal(t, "DeadlineExceeded", p.Status.Reason)
	require.NotNil(t, status(p, "main").State.Terminated)
	assert.Equal(t, "Completed", status(p, "main").State.Terminated.Reason, "it was asked to end, and did")
	shared.eventually(t, "the VM is off", func(context.Context) (bool, string) {
		vm, ok := shared.vm(t, p)
		return !ok || vm.PID == 0, vm.State
	})
}

func TestAKillOfVICAmidInitialization(t *testing.T) {
	t.Parallel()
	c := up(t)
	c.importImage(t)
	p := c.create(t, pod("default", "init", sleepForever, withInit(container("one", "sleep 8"), container("two", "sleep 1"))))
	c.waitPod(t, p, "initializes", func(p *corev1.Pod) bool { return status(p, "one").State.Running != nil })
	c.kill()
	c.start(t)
	p = c.waitReady(t, p)
	for _, name := range []string{"one", "two", "main"} {
		assert.Zero(t, status(p, name).RestartCount, name)
	}
	assert.Len(t, c.vms(t), 1)

	// A VM that dies is initialized again, as a sandbox is.
	vm, ok := c.vm(t, p)
	require.True(t, ok)
	require.NoError(t, syscall.Kill(vm.PID, syscall.SIGKILL))
	p = c.waitPod(t, p, "runs again", func(p *corev1.Pod) bool { return status(p, "main").RestartCount == 1 && ready(p) })
	assert.EqualValues(t, 1, status(p, "one").RestartCount)
	assert.EqualValues(t, 1, status(p, "two").RestartCount)
}
