//go:build e2e

package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
)

func TestTheRestrictedPodSecurityStandard(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	shared.kubectl(t, "label", "namespace", ns, "pod-security.kubernetes.io/enforce=restricted")
	_, err := shared.tryKubectl(t, "-n", ns, "run", "root", "--image="+testImage, "--restart=Never")
	require.Error(t, err, "admission enforces it")
	p := shared.create(t, pod(ns, "restricted",
		`id; touch /shared/file; stat -c '%u:%g %A' /shared/file /shared; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status; cat /proc/sys/net/ipv4/ip_unprivileged_port_start`,
		restart(corev1.RestartPolicyNever), withShared, func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(1000)), RunAsGroup: new(int64(1001)),
				FSGroup: new(int64(2000)), SupplementalGroups: []int64{3000},
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				Sysctls:        []corev1.Sysctl{{Name: "net.ipv4.ip_unprivileged_port_start", Value: "77"}},
			}
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{
				AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			}
		}))
	shared.waitPhase(t, p, corev1.PodSucceeded)
	assert.Equal(t, `uid=1000 gid=1001 groups=2000,3000
1000:2000 -rw-r--r--
0:2000 drwxrwsrwx
CapBnd:	0000000000000000
NoNewPrivs:	1
Seccomp:	2
77
`, shared.kubectl(t, "-n", ns, "logs", "restricted"))
}

func TestAPrivilegedContainerOwnsItsKernel(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "mighty",
		`mkdir /tmp/m && mount -t tmpfs none /tmp/m && echo mounted; sysctl -w kernel.msgmax=4242; cat /proc/sys/kernel/msgmax`,
		restart(corev1.RestartPolicyNever), func(p *corev1.Pod) {
			p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: new(true)}
		}))
	shared.waitPhase(t, p, corev1.PodSucceeded)
	log := shared.kubectl(t, "-n", ns, "logs", "mighty")
	assert.Contains(t, log, "mounted\n")
	assert.Contains(t, log, "\n4242\n")
}

func TestDebugAPodThatRuns(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "service", sleepForever, beside(container("other", "while :; do sleep 45678; done"))))
	p = shared.waitReady(t, p)
	debug := func(container string, more ...string) []string {
		return append([]string{
			"-n", ns, "debug", "service", "--image=" + testImage, "--image-pull-policy=IfNotPresent", "--container=" + container,
		}, more...)
	}
	cmd := shared.kubectlCommand(t.Context(), debug("debugger", "-i", "--", "/bin/sh", "-c", "read line; hostname; echo got $line")...)
	cmd.Stdin = strings.NewReader("hello\n")
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, string(said))
	assert.Contains(t, string(said), "got hello")
	p = shared.waitPod(t, p, "had a debugger", func(p *corev1.Pod) bool { return status(p, "debugger").State.Terminated != nil })
	assert.Zero(t, status(p, "debugger").State.Terminated.ExitCode)
	assert.True(t, ready(p), "the pod goes on")
	assert.Equal(t, "service\ngot hello\n", shared.kubectl(t, "-n", ns, "logs", "service", "-c", "debugger"))

	shared.kubectl(t, debug("target", "--target=other", "--", "ps", "-o", "pid,args")...)
	p = shared.waitPod(t, p, "had a debugger of a container", func(p *corev1.Pod) bool { return status(p, "target").State.Terminated != nil })
	assert.Zero(t, status(p, "target").State.Terminated.ExitCode)
	processes := shared.kubectl(t, "-n", ns, "logs", "service", "-c", "target")
	assert.Regexp(t, `(?m)^ *1 .*sleep 45678`, processes, "process 1 is the target's")
	assert.True(t, ready(p))
	assert.Zero(t, restarts(p))

	shared.kubectl(t, "-n", ns, "annotate", "pod", "service", "kubectl.kubernetes.io/default-container=other")
	assert.Contains(t, shared.kubectl(t, "-n", ns, "exec", "service", "--", "ps"), "sleep 45678", "the default container")
}

func TestContainersShareAProcessNamespace(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := shared.create(t, pod(ns, "shared", sleepForever, beside(container("other", "while :; do sleep 45678; done")),
		func(p *corev1.Pod) { p.Spec.ShareProcessNamespace = new(true) }))
	p = shared.waitReady(t, p)
	ps := shared.kubectl(t, "-n", ns, "exec", "shared", "-c", "main", "--", "ps", "-o", "pid,args")
	assert.Regexp(t, `(?m)^ *1 /pause`, ps)
	assert.Regexp(t, `(?m)^ *[0-9]+ sleep 45678`, ps)

	// A container ends another one by a signal, as sidecars do that reload a server; nothing ends process 1.
	shared.kubectl(t, "-n", ns, "exec", "shared", "-c", "main", "--", "sh", "-c",
		`kill -KILL 1 $(ps -o pid,args | grep '^ *[0-9]* /bin/sh -c while' | grep 45678 | while read pid args; do echo $pid; done)`)
	p = shared.waitPod(t, p, "had its other container restarted", func(p *corev1.Pod) bool { return status(p, "other").RestartCount == 1 && ready(p) })
	end := status(p, "other").LastTerminationState.Terminated
	assert.Equal(t, int32(137), end.ExitCode)
	assert.Equal(t, int32(9), end.Signal)
	assert.Zero(t, status(p, "main").RestartCount)
	ps = shared.kubectl(t, "-n", ns, "exec", "shared", "-c", "main", "--", "ps", "-o", "args")
	assert.Equal(t, 1, strings.Count(ps, "\nsleep 45678\n"), "what the former attempt ran is gone: %s", ps)
	shared.delete(t, p)
}
