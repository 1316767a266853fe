//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestNodeIsAdministered does to a node what administrators do, with the cluster's own controllers.
func TestNodeIsAdministered(t *testing.T) {
	t.Parallel()
	m := join(t, "managed", "  labels: {rack: r7}")
	ns := shared.namespace(t)
	everywhere := m.daemonSet(t, ns, "everywhere", sleepForever)
	web := m.deployment(t, ns, "web", corev1.Toleration{Key: "out", Operator: corev1.TolerationOpExists})
	bare := shared.waitReady(t, shared.create(t, m.pod(ns, "bare", sleepForever)))
	daemon := m.readyPod(t, ns, everywhere)
	served := m.readyPod(t, ns, web)

	t.Run("a taint NoExecute takes the pods that don't tolerate it", func(t *testing.T) {
		shared.kubectl(t, "taint", "node", m.name, "out=now:NoExecute")
		m.waitGone(t, bare)
		shared.kubectl(t, "taint", "node", m.name, "out-")
		m.still(t, daemon)
		m.still(t, served)
	})
	t.Run("a deleted node comes back as it was and keeps its pods", func(t *testing.T) {
		before, vms := m.object(t), m.vms(t)
		shared.kubectl(t, "delete", "node", m.name)
		after := m.waitNode(t, "is back", func(n *corev1.Node) bool {
			// The node controller adds labels of its own after a while.
			return n.UID != before.UID && nodeReady(n) && maps.Equal(before.Labels, n.Labels)
		})
		assert.Equal(t, withoutLifecycle(before.Spec.Taints), withoutLifecycle(after.Spec.Taints))
		assert.Equal(t, before.Status.Addresses, after.Status.Addresses)
		m.still(t, daemon)
		m.still(t, served)
		assert.Equal(t, vms, m.vms(t))
	})
	t.Run("drain ends all but what a DaemonSet has", func(t *testing.T) {
		out := shared.kubectl(t, "drain", m.name, "--ignore-daemonsets", "--timeout="+patience.String())
		assert.Contains(t, out, "node/managed drained")
		m.waitGone(t, &served)
		m.still(t, daemon)
		assert.True(t, m.object(t).Spec.Unschedulable)
		shared.kubectl(t, "uncordon", m.name)
		m.readyPod(t, ns, web)
	})
	t.Run("kubectl debug node is refused with the fields that it needs", func(t *testing.T) {
		shared.kubectl(t, "-n", ns, "debug", "node/"+m.name, "--image="+testImage, "--profile=general", "--", "true")
		m.waitRefused(t, ns, func(p *corev1.Pod) bool { return strings.HasPrefix(p.Name, "node-debugger-") }, "hostPath", "hostNetwork")
	})
	t.Run("a DaemonSet that needs the machine is refused", func(t *testing.T) {
		m.daemonSet(t, ns, "agent", sleepForever, func(p *corev1.PodSpec) { p.HostNetwork = true })
		m.waitRefused(t, ns, func(p *corev1.Pod) bool { return strings.HasPrefix(p.Name, "agent-") }, "hostNetwork")
	})
}

// template is a pod's that runs on this node.
func (m *member) template(name, script string, change ...func(*corev1.PodSpec)) (*metav1.LabelSelector, corev1.PodTemplateSpec) {
	labels := map[string]string{"app": name}
	p := pod("", "", script, small)
	p.Spec.NodeSelector = map[string]string{corev1.LabelHostname: m.name}
	for _, f := range change {
		f(&p.Spec)
	}
	return &metav1.LabelSelector{MatchLabels: labels}, corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: p.Spec}
}

// daemonSet makes one that tolerates everything, and returns its selector.
func (m *member) daemonSet(t *testing.T, ns, name, script string, change ...func(*corev1.PodSpec)) string {
	t.Helper()
	selector, template := m.template(name, script, change...)
	template.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists}}
	_, err := shared.client.AppsV1().DaemonSets(ns).Create(t.Context(), &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return metav1.FormatLabelSelector(selector)
}

// deployment makes one of a pod that tolerates the node's taint and that, and returns its selector.
func (m *member) deployment(t *testing.T, ns, name string, tolerates corev1.Toleration) string {
	t.Helper()
	selector, template := m.template(name, sleepForever)
	template.Spec.Tolerations = []corev1.Toleration{{Key: "virtual-kubelet.io/provider", Operator: corev1.TolerationOpExists}, tolerates}
	_, err := shared.client.AppsV1().Deployments(ns).Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: appsv1.DeploymentSpec{Selector: selector, Template: template},
	}, metav1.CreateOptions{})
	require.NoError(t, err)
	return metav1.FormatLabelSelector(selector)
}

// readyPod waits for a pod of that selector which runs on the node and is not being deleted.
func (m *member) readyPod(t *testing.T, ns, selector string) corev1.Pod {
	t.Helper()
	var found corev1.Pod
	m.eventually(t, "a ready pod of "+selector, func(ctx context.Context) (bool, string) {
		list, err := shared.client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{LabelSelector: selector})
		require.NoError(t, err)
		for _, p := range list.Items {
			if ready(&p) && p.DeletionTimestamp == nil && p.Spec.NodeName == m.name {
				found = p
				return true, ""
			}
		}
		return false, fmt.Sprint(len(list.Items), " pods, none of them ready")
	})
	return found
}

// still requires that the pod is there, as ready and as often restarted as it was.
func (m *member) still(t *testing.T, p corev1.Pod) {
	t.Helper()
	now, err := shared.client.CoreV1().Pods(p.Namespace).Get(t.Context(), p.Name, metav1.GetOptions{})
	require.NoError(t, err)
	assert.Equal(t, p.UID, now.UID)
	assert.Nil(t, now.DeletionTimestamp)
	assert.True(t, ready(now))
	assert.Equal(t, p.Status.ContainerStatuses[0].ContainerID, now.Status.ContainerStatuses[0].ContainerID)
}

// waitRefused waits until a pod of the node that is meant waits for fields that are refused, among them these, and
// requires that it has no VM.
func (m *member) waitRefused(t *testing.T, ns string, meant func(*corev1.Pod) bool, fields ...string) {
	t.Helper()
	var refused corev1.Pod
	m.eventually(t, "a pod is refused", func(ctx context.Context) (bool, string) {
		list, err := shared.client.CoreV1().Pods(ns).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + m.name})
		require.NoError(t, err)
		i := slices.IndexFunc(list.Items, func(p corev1.Pod) bool { return meant(&p) && len(p.Status.ContainerStatuses) > 0 })
		if i < 0 {
			return false, fmt.Sprint(len(list.Items), " others")
		}
		refused = list.Items[i]
		waiting := refused.Status.ContainerStatuses[0].State.Waiting
		return waiting != nil && waiting.Reason == "UnsupportedField", refused.Status.String()
	})
	message := refused.Status.ContainerStatuses[0].State.Waiting.Message
	for _, field := range fields {
		assert.Contains(t, message, field)
	}
	_, there := m.vm(t, &refused)
	assert.False(t, there)
}
