//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// sleepForever ends at once on TERM, as a well-behaved server does.
const sleepForever = `trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done`

func TestHelloBehavesAsOnAnyNode(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	shared.startQuickly(t, ns) // which applies examples/hello.yaml
	hello := shared.waitReady(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "hello"}})

	t.Run("its status is true", func(t *testing.T) {
		s := hello.Status
		require.Len(t, s.ContainerStatuses, 1)
		c := s.ContainerStatuses[0]
		assert.Equal(t, corev1.PodRunning, s.Phase)
		assert.NotEmpty(t, s.PodIP)
		assert.NotEmpty(t, s.HostIP)
		assert.Regexp(t, `^vic://[0-9a-f]{64}$`, c.ContainerID)
		assert.Contains(t, c.ImageID, "sha256:")
		assert.NotNil(t, c.State.Running)
		assert.WithinDuration(t, time.Now(), c.State.Running.StartedAt.Time, time.Hour)
		assert.Zero(t, c.RestartCount)
		assert.Equal(t, "vic-local", hello.Spec.NodeName)
		for _, want := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
			assert.True(t, hasCondition(hello, want), want)
		}
	})
	t.Run("it runs in a VM of its own", func(t *testing.T) {
		vm, ok := shared.vm(t, hello)
		require.True(t, ok)
		assert.Equal(t, "running", vm.State)
		assert.Equal(t, hello.Status.PodIP, vm.IP)
		assert.NotZero(t, vm.PID)
		assert.Contains(t, shared.kubectl(t, "-n", ns, "exec", "hello", "--", "uname", "-r"), "cloud-amd64")
	})
	t.Run("get -o wide shows its address and node", func(t *testing.T) {
		out := shared.kubectl(t, "-n", ns, "get", "pod", "hello", "-o", "wide")
		assert.Contains(t, out, hello.Status.PodIP)
		assert.Contains(t, out, "vic-local")
	})
	t.Run("describe shows the kubelet's events", func(t *testing.T) {
		shared.eventually(t, "the events", func(context.Context) (bool, string) {
			out := shared.kubectl(t, "-n", ns, "describe", "pod", "hello")
			for _, reason := range []string{"Scheduled", "Pulled", "Created", "Started"} {
				if !strings.Contains(out, reason) {
					return false, out
				}
			}
			return true, ""
		})
	})
	t.Run("logs -f shows the line it logged at start", func(t *testing.T) {
		assert.Contains(t, next(t, shared.follow(t, hello)), "hello")
	})
	t.Run("the host reaches it", func(t *testing.T) {
		assert.Contains(t, get(t, "http://"+hello.Status.PodIP+":8080/"), "hello")
	})
	t.Run("exec runs a shell", func(t *testing.T) {
		out, err := shared.tryKubectl(t, "-n", ns, "exec", "hello", "--", "sh", "-c", "echo out; echo err >&2; exit 42")
		assert.Contains(t, out, "out")
		assert.Contains(t, out, "err")
		var exit *exec.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 42, exit.ExitCode())
	})
	t.Run("exec passes standard input", func(t *testing.T) {
		cmd := shared.kubectlCommand(t.Context(), "-n", ns, "exec", "-i", "hello", "--", "cat")
		cmd.Stdin = strings.NewReader("through the VM\n")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		assert.Equal(t, "through the VM\n", string(out))
	})
	t.Run("exec -it has a terminal of the right size", func(t *testing.T) {
		out := terminal(t, "stty rows 33 cols 99; "+strings.Join(shared.kubectlCommand(t.Context(), "-n", ns, "exec", "-it", "hello", "--", "sh", "-c", "tty; stty size").Args, " "))
		assert.Contains(t, out, "/dev/pts/")
		assert.Contains(t, out, "33 99")
	})
	t.Run("delete ends it and its VM", func(t *testing.T) {
		vm, ok := shared.vm(t, hello)
		require.True(t, ok)
		shared.kubectl(t, "-n", ns, "delete", "pod", "hello")
		shared.waitGone(t, hello)
		requireNoProcess(t, vm.PID)
	})
}

// terminal runs a shell command line on a pseudo-terminal, as a user at a terminal does.
func terminal(t *testing.T, commandLine string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// script(1) of bsdutils, which is on every Debian, gives the pseudo-terminal.
	cmd := exec.CommandContext(ctx, "script", "-qec", strings.ReplaceAll(commandLine, "sh -c tty; stty size", "sh -c 'tty; stty size'"), "/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

func TestPodsReachEachOther(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	server := shared.create(t, pod(ns, "server", "exec /testpod serve :8000"))
	server = shared.waitReady(t, server)
	client := shared.create(t, pod(ns, "client", "until wget -q -O - http://"+server.Status.PodIP+":8000/env; do sleep 1; done", restart(corev1.RestartPolicyNever)))
	shared.waitPhase(t, client, corev1.PodSucceeded)
	assert.Contains(t, shared.kubectl(t, "-n", ns, "logs", "client"), "HOSTNAME=server")
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	shared.kubectl(t, "-n", ns, "create", "configmap", "settings", "--from-literal=COLOUR=green", "--from-literal=SIZE=7")
	shared.kubectl(t, "-n", ns, "create", "secret", "generic", "keys", "--from-literal=TOKEN=s3cret")
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	p := shared.create(t, pod(ns, "env", "env", restart(corev1.RestartPolicyNever), func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("64Mi")}
		c.EnvFrom = []corev1.EnvFromSource{{Prefix: "CM_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}}}}
		c.Env = []corev1.EnvVar{
			{Name: "LITERAL", Value: "a b"},
			{Name: "SECRET", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "keys"}, Key: "TOKEN"}}},
			{Name: "KEY", ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: corev1.LocalObjectReference{Name: "settings"}, Key: "SIZE"}}},
			{Name: "IP", ValueFrom: field("status.podIP")},
			{Name: "NODE", ValueFrom: field("spec.nodeName")},
			{Name: "LIMIT", ValueFrom: &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: "limits.memory"}}},
			{Name: "EXPANDED", Value: "$(LITERAL)-$(CM_COLOUR)-$$(LITERAL)-$(ABSENT)"},
		}
	}))
	p = shared.waitPhase(t, p, corev1.PodSucceeded)
	out := shared.kubectl(t, "-n", ns, "logs", "env")
	for _, want := range []string{
		"CM_COLOUR=green", "CM_SIZE=7", "LITERAL=a b", "SECRET=s3cret", "KEY=7", "IP=" + p.Status.PodIP, "NODE=vic-local",
		"LIMIT=67108864", "EXPANDED=a b-green-$(LITERAL)-$(ABSENT)", "HOSTNAME=env", "KUBERNETES_SERVICE_PORT=443",
	} {
		assert.Contains(t, strings.Split(out, "\n"), want)
	}
}

func TestVolumes(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	shared.kubectl(t, "-n", ns, "create", "configmap", "files", "--from-literal=a.txt=one")
	shared.kubectl(t, "-n", ns, "create", "secret", "generic", "keys", "--from-literal=key=s3cret")
	p := shared.create(t, pod(ns, "volumes", sleepForever, func(p *corev1.Pod) {
		p.Labels = map[string]string{"tier": "test"}
		p.Spec.Volumes = []corev1.Volume{
			{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "files"}}}},
			{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "keys", DefaultMode: ptr.To[int32](0o400)}}},
			{Name: "pod", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
			}}}},
			{Name: "scratch", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "memory", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}},
		}
		for _, v := range p.Spec.Volumes {
			p.Spec.Containers[0].VolumeMounts = append(p.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: v.Name, MountPath: "/v/" + v.Name})
		}
	}))
	shared.waitReady(t, p)
	sh := func(script string) string {
		return strings.TrimSpace(shared.kubectl(t, "-n", ns, "exec", "volumes", "--", "sh", "-c", script))
	}
	assert.Equal(t, "one", sh("cat /v/config/a.txt"))
	assert.Equal(t, "s3cret", sh("cat /v/secret/key"))
	assert.Equal(t, "400", sh("stat -L -c %a /v/secret/key"))
	assert.Equal(t, `tier="test"`, sh("cat /v/pod/labels"))
	assert.Equal(t, "ok", sh("echo ok >/v/scratch/f && cat /v/scratch/f"))
	assert.Contains(t, sh("grep ' /v/memory ' /proc/mounts"), "tmpfs")
	assert.Contains(t, sh("cat /etc/hosts"), "volumes")
	assert.Equal(t, "volumes", sh("hostname"))

	shared.kubectl(t, "-n", ns, "patch", "configmap", "files", "-p", `{"data":{"a.txt":"two"}}`)
	shared.eventually(t, "the changed config map in the pod", func(context.Context) (bool, string) {
		out := sh("cat /v/config/a.txt")
		return out == "two", out
	})
}

func TestPodReachesTheAPIServerWithItsToken(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	shared.kubectl(t, "-n", ns, "create", "rolebinding", "view", "--clusterrole=view", "--serviceaccount="+ns+":default")
	p := shared.create(t, pod(ns, "api", "exec /testpod api kubernetes.default /api/v1/namespaces/"+ns+"/pods/api", restart(corev1.RestartPolicyNever)))
	shared.waitPhase(t, p, corev1.PodSucceeded)
	assert.Contains(t, shared.kubectl(t, "-n", ns, "logs", "api"), string(p.UID))
}

func TestRestartPolicies(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	tests := map[string]struct {
		policy corev1.RestartPolicy
		script string
		phase  corev1.PodPhase
		code   int32
		reason string
	}{
		"never-zero":       {corev1.RestartPolicyNever, "exit 0", corev1.PodSucceeded, 0, "Completed"},
		"never-seven":      {corev1.RestartPolicyNever, "exit 7", corev1.PodFailed, 7, "Error"},
		"never-signal":     {corev1.RestartPolicyNever, "sh -c 'kill -KILL $$$$'; exit $?", corev1.PodFailed, 137, "Error"},
		"on-failure-zero":  {corev1.RestartPolicyOnFailure, "exit 0", corev1.PodSucceeded, 0, "Completed"},
		"message-from-log": {corev1.RestartPolicyNever, "echo oh dear; exit 1", corev1.PodFailed, 1, "Error"},
	}
	for name, tt := range tests {
		shared.create(t, pod(ns, name, tt.script, restart(tt.policy), func(p *corev1.Pod) {
			p.Spec.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
		}))
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := shared.waitPhase(t, pod(ns, name, ""), tt.phase)
			end := p.Status.ContainerStatuses[0].State.Terminated
			require.NotNil(t, end)
			assert.Equal(t, tt.code, end.ExitCode)
			assert.Equal(t, tt.reason, end.Reason)
			assert.Zero(t, p.Status.ContainerStatuses[0].RestartCount)
			if name == "message-from-log" {
				assert.Equal(t, "oh dear\n", end.Message)
			}
		})
	}
}

func TestCrashLoopBacksOff(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "crash", "echo attempt; exit 3"))
	p = shared.waitPod(t, p, "backs off", func(p *corev1.Pod) bool {
		return len(p.Status.ContainerStatuses) == 1 && p.Status.ContainerStatuses[0].RestartCount >= 1 &&
			p.Status.ContainerStatuses[0].State.Waiting != nil && p.Status.ContainerStatuses[0].State.Waiting.Reason == "CrashLoopBackOff"
	})
	last := p.Status.ContainerStatuses[0].LastTerminationState.Terminated
	require.NotNil(t, last)
	assert.EqualValues(t, 3, last.ExitCode)
	assert.False(t, ready(p))
	assert.Contains(t, shared.kubectl(t, "-n", ns, "logs", "-p", "crash"), "attempt")
	shared.delete(t, p)
}

func TestGracePeriodEndsWithKill(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "stubborn", "trap '' TERM; while :; do sleep 1; done", func(p *corev1.Pod) {
		p.Spec.TerminationGracePeriodSeconds = ptr.To[int64](3)
	}))
	shared.waitReady(t, p)
	shared.delete(t, p)
}

func TestOOMKillIsReportedForTheKilledContainer(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "oom", "x=a; while :; do x=$x$x; done", beside(container("calm", sleepForever)), func(p *corev1.Pod) {
		for i := range p.Spec.Containers {
			p.Spec.Containers[i].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
		}
	}))
	p = shared.waitPod(t, p, "was killed and started again", func(p *corev1.Pod) bool {
		return status(p, "main").LastTerminationState.Terminated != nil && status(p, "calm").State.Running != nil
	})
	end := status(p, "main").LastTerminationState.Terminated
	assert.Equal(t, "OOMKilled", end.Reason)
	assert.EqualValues(t, 137, end.ExitCode)
	assert.EqualValues(t, 9, end.Signal)
	assert.Zero(t, status(p, "calm").RestartCount, "the other one goes on")
}

func TestAnEndBySignalIsReported(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	// In a namespace of its own, process 1 would not heed its own signals. Two dollars are one after the API's expansion.
	p := shared.create(t, pod(ns, "signals", "kill -SEGV $$$$", restart(corev1.RestartPolicyNever),
		beside(container("killed", "kill -KILL $$$$"), container("shell", "sh -c 'kill -SEGV $$$$'; exit $?")),
		func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = new(true) }))
	p = shared.waitPhase(t, p, corev1.PodFailed)
	for name, want := range map[string]struct{ code, signal int32 }{"main": {139, 11}, "killed": {137, 9}, "shell": {139, 0}} {
		end := status(p, name).State.Terminated
		assert.Equal(t, want.code, end.ExitCode, name)
		assert.Equal(t, want.signal, end.Signal, name)
		assert.Equal(t, "Error", end.Reason, name)
	}
}

func TestFinishedPodFreesItsVMAndKeepsItsLog(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "job", "for i in 1 2 3; do echo line $i; done", restart(corev1.RestartPolicyNever)))
	shared.waitPhase(t, p, corev1.PodSucceeded)
	shared.eventually(t, "the VM is off", func(context.Context) (bool, string) {
		vm, ok := shared.vm(t, p)
		return !ok || vm.PID == 0, vm.State
	})
	assert.Equal(t, "line 1\nline 2\nline 3\n", shared.kubectl(t, "-n", ns, "logs", "job"))
}

func TestWhatCannotRunSaysWhy(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	tests := map[string]struct {
		change  func(*corev1.Pod)
		reasons []string
		message string
	}{
		"no-such-image": {
			func(p *corev1.Pod) { p.Spec.Containers[0].Image = "127.0.0.1:1/absent:1" }, []string{"ErrImagePull", "ImagePullBackOff"}, "127.0.0.1:1/absent:1",
		},
		"never-pulled": {
			func(p *corev1.Pod) {
				p.Spec.Containers[0].Image, p.Spec.Containers[0].ImagePullPolicy = "absent:1", corev1.PullNever
			}, []string{"ErrImageNeverPull"}, "absent:1",
		},
		"bad-image-name": {
			func(p *corev1.Pod) { p.Spec.Containers[0].Image = "UPPER CASE" }, []string{"InvalidImageName"}, "UPPER CASE",
		},
		"missing-config": {
			func(p *corev1.Pod) {
				p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "absent"}}}}
			}, []string{"CreateContainerConfigError"}, "absent",
		},
		"refused-field": {
			func(p *corev1.Pod) { p.Spec.HostPID = true }, []string{"UnsupportedField"}, "spec.hostPID",
		},
		"limit-that-boots-nothing": {
			func(p *corev1.Pod) {
				p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Mi")}
			}, []string{"UnsupportedField"}, "limits",
		},
		"missing-command": {
			func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"/no/such/program"} },
			[]string{"RunContainerError", "CrashLoopBackOff"},
			"no/such/program",
		},
	}
	for name, tt := range tests {
		shared.create(t, pod(ns, name, "exit 0", tt.change))
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := shared.waitPod(t, pod(ns, name, ""), "waits with a reason", func(p *corev1.Pod) bool {
				for _, c := range p.Status.ContainerStatuses {
					for _, reason := range tt.reasons {
						if c.State.Waiting != nil && c.State.Waiting.Reason == reason {
							return true
						}
					}
				}
				return false
			})
			assert.NotEqual(t, corev1.PodFailed, p.Status.Phase)
			shared.eventually(t, "an event that says it", func(context.Context) (bool, string) {
				out := shared.kubectl(t, "-n", ns, "get", "events", "--field-selector", "involvedObject.name="+name)
				return strings.Contains(out, tt.message), out
			})
			shared.delete(t, p)
		})
	}
}

func TestImageFromARegistryOnLoopback(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "pulled", "echo pulled", restart(corev1.RestartPolicyNever), func(p *corev1.Pod) {
		p.Spec.Containers[0].Image = registryImage
		p.Spec.Containers[0].ImagePullPolicy = corev1.PullAlways
	}))
	shared.waitPhase(t, p, corev1.PodSucceeded)
	assert.Equal(t, "pulled\n", shared.kubectl(t, "-n", ns, "logs", "pulled"))
}

func TestNodeStatusIsTrue(t *testing.T) {
	node, err := shared.client.CoreV1().Nodes().Get(t.Context(), "vic-local", metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, "linux", node.Labels[corev1.LabelOSStable])
	assert.Equal(t, "amd64", node.Labels[corev1.LabelArchStable])
	assert.Equal(t, "virtual-kubelet", node.Labels["type"])
	assert.Empty(t, node.Spec.Taints)
	assert.Positive(t, node.Status.Capacity.Cpu().Value())
	assert.Positive(t, node.Status.Capacity.Memory().Value())
	assert.NotEmpty(t, node.Status.Addresses)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	require.NoError(t, err)
	assert.Equal(t, strings.TrimSpace(string(boot)), node.Status.NodeInfo.BootID)
	assert.Regexp(t, "pod VMs on (QEMU|vSphere)$", node.Status.NodeInfo.OSImage)
	assert.True(t, slices.ContainsFunc(node.Status.Images, func(i corev1.ContainerImage) bool {
		return slices.Contains(i.Names, testImage) && i.SizeBytes > 0
	}), "%v", node.Status.Images)
	_, err = shared.client.CoordinationV1().Leases("kube-node-lease").Get(t.Context(), "vic-local", metav1.GetOptions{})
	require.NoError(t, err)

	require.NoError(t, shared.client.CoreV1().Nodes().Delete(t.Context(), "vic-local", metav1.DeleteOptions{}))
	shared.eventually(t, "the node comes back", func(ctx context.Context) (bool, string) {
		again, err := shared.client.CoreV1().Nodes().Get(ctx, "vic-local", metav1.GetOptions{})
		return err == nil && again.UID != node.UID, fmt.Sprint(err)
	})
}

func hasCondition(p *corev1.Pod, kind corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == kind {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// get fetches url from a server that may still be starting: pods have no readiness probe here.
func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Timeout: 10 * time.Second}
	var body []byte
	shared.eventually(t, "an answer from "+url, func(context.Context) (bool, string) {
		resp, err := client.Get(url)
		if err != nil {
			return false, err.Error()
		}
		defer resp.Body.Close()
		body, err = io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK, resp.Status
	})
	return string(body)
}

// small gives a pod little memory, so that many fit.
func small(p *corev1.Pod) {
	p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("48Mi")}
}
