//go:build e2e

package e2e_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func execAction(command string) corev1.ProbeHandler {
	return corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/sh", "-c", command}}}
}

func httpAction(path string) corev1.ProbeHandler {
	return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")}}
}

func TestProbesAndHooks(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	p := pod(ns, "web", "touch /tmp/alive; exec /testpod serve :8000", func(p *corev1.Pod) {
		p.Labels = map[string]string{"app": "web"}
		c := &p.Spec.Containers[0]
		c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8000}}
		c.StartupProbe = &corev1.Probe{ProbeHandler: httpAction("/env"), PeriodSeconds: 1, TimeoutSeconds: 10, FailureThreshold: 60}
		c.ReadinessProbe = &corev1.Probe{ProbeHandler: httpAction("/exists/tmp/ready"), PeriodSeconds: 1, TimeoutSeconds: 10, FailureThreshold: 1}
		c.LivenessProbe = &corev1.Probe{
			ProbeHandler: execAction("test -e /tmp/alive"), PeriodSeconds: 1, TimeoutSeconds: 30, FailureThreshold: 1,
			TerminationGracePeriodSeconds: new(int64(5)),
		}
		c.Lifecycle = &corev1.Lifecycle{
			PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/sh", "-c", "echo started >> /shared/hooks"}}},
			PreStop:   &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/sh", "-c", "echo stopping >> /shared/hooks"}}},
		}
	}, withShared)
	_, err := shared.client.CoreV1().Services(ns).Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: p.Labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}}},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	p = shared.create(t, p)
	p = shared.waitPod(t, p, "has started and is not ready", func(p *corev1.Pod) bool {
		s := status(p, "main")
		return ptr.Deref(s.Started, false) && !s.Ready
	})
	assert.Equal(t, corev1.PodRunning, p.Status.Phase)
	assert.Equal(t, "ContainersNotReady", conditionOf(p, corev1.PodReady).Reason)
	endpoint := func(want bool) {
		t.Helper()
		shared.eventually(t, "the endpoint's readiness", func(ctx context.Context) (bool, string) {
			slices, err := shared.client.DiscoveryV1().EndpointSlices(ns).List(ctx, metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=web"})
			require.NoError(t, err)
			for _, s := range slices.Items {
				for _, e := range s.Endpoints {
					return e.Addresses[0] == p.Status.PodIP && ptr.Deref(e.Conditions.Ready, false) == want, e.String()
				}
			}
			return false, "none"
		})
	}
	endpoint(false)
	sh := func(script string) string {
		return shared.kubectl(t, "-n", ns, "exec", "web", "--", "/bin/sh", "-c", script)
	}
	sh("touch /tmp/ready")
	shared.waitReady(t, p)
	endpoint(true)
	sh("rm /tmp/ready")
	endpoint(false)
	assert.Equal(t, "started\n", sh("cat /shared/hooks"))

	sh("rm /tmp/alive")
	p = shared.waitPod(t, p, "was restarted", func(p *corev1.Pod) bool { return status(p, "main").RestartCount == 1 })
	shared.eventually(t, "the kubelet's events", func(ctx context.Context) (bool, string) {
		events, err := shared.client.CoreV1().Events(ns).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=web"})
		require.NoError(t, err)
		var unhealthy, killing bool
		var seen strings.Builder
		for _, e := range events.Items {
			unhealthy = unhealthy || e.Reason == "Unhealthy" && strings.HasPrefix(e.Message, "Liveness probe failed")
			killing = killing || e.Reason == "Killing"
			seen.WriteString(e.Reason + ": " + e.Message + "\n")
		}
		return unhealthy && killing, seen.String()
	})
	shared.waitPod(t, p, "has started again", func(p *corev1.Pod) bool { return ptr.Deref(status(p, "main").Started, false) })
	assert.Equal(t, "started\nstopping\nstarted\n", sh("cat /shared/hooks"), "the hooks of both attempts")
}
