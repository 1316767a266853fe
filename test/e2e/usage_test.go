//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// TestUsageIsWhatContainersUse asks as metrics-server does, over the API server.
func TestUsageIsWhatContainersUse(t *testing.T) {
	t.Parallel()
	ns := shared.namespace(t)
	busy := shared.waitReady(t, shared.create(t, pod(ns, "busy", "i=0; while :; do i=$((i+1)); done", small)))
	path := "/api/v1/nodes/" + busy.Spec.NodeName + "/proxy"
	shared.eventually(t, "the busy container's processor time", func(context.Context) (bool, string) {
		text, err := shared.tryKubectl(t, "get", "--raw", path+"/metrics/resource")
		if err != nil {
			return false, text
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(text))
		require.NoError(t, err)
		require.Contains(t, families, "node_cpu_usage_seconds_total")
		require.Contains(t, families, "node_memory_working_set_bytes")
		for _, metric := range families["container_cpu_usage_seconds_total"].GetMetric() {
			labels := map[string]string{}
			for _, l := range metric.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			if labels["namespace"] == ns && labels["pod"] == "busy" && labels["container"] == "main" {
				return metric.GetCounter().GetValue() > 1, metric.String()
			}
		}
		return false, text
	})
	shared.eventually(t, "its rate in the summary", func(context.Context) (bool, string) {
		var summary statsv1alpha1.Summary
		text := shared.kubectl(t, "get", "--raw", path+"/stats/summary")
		require.NoError(t, json.Unmarshal([]byte(text), &summary))
		assert.Equal(t, busy.Spec.NodeName, summary.Node.NodeName)
		for _, p := range summary.Pods {
			if p.PodRef.Namespace == ns && len(p.Containers) == 1 {
				cpu := p.Containers[0].CPU
				return cpu.UsageNanoCores != nil && *cpu.UsageNanoCores > 10_000_000 && *p.Containers[0].Memory.WorkingSetBytes > 0, text
			}
		}
		return false, text
	})
	out, err := shared.tryKubectl(t, "top", "pod", "-n", ns)
	require.Error(t, err, "vic up brings no metrics server")
	assert.Contains(t, out, "Metrics API not available")
}

// TestPodThatTheMachineHasNoMemoryFor requests little and may use all that there is, of which some is in use.
func TestPodThatTheMachineHasNoMemoryFor(t *testing.T) {
	ns := shared.namespace(t)
	p := pod(ns, "huge", sleepForever, func(p *corev1.Pod) {
		p.Spec.NodeName = "vic-local"
		p.Spec.Containers[0].Resources = corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("16Mi")},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: sharedNode(t).Status.Capacity[corev1.ResourceMemory]},
		}
	})
	p = shared.waitPhase(t, shared.create(t, p), corev1.PodFailed)
	assert.Equal(t, "OutOfmemory", p.Status.Reason)
	assert.Regexp(t, `^Pod was rejected: Node didn't have enough resource: memory, requested: \d+, used: \d+, capacity: \d+$`, p.Status.Message)
	shared.eventually(t, "the event", func(context.Context) (bool, string) {
		events := shared.kubectl(t, "-n", ns, "get", "events", "--field-selector", "involvedObject.name=huge", "-o", "custom-columns=R:.reason,M:.message")
		return strings.Contains(events, "OutOfmemory"), events
	})
	_, there := shared.vm(t, p)
	assert.False(t, there)
}

// sharedNode is the node of the shared cluster as the API server has it.
func sharedNode(t *testing.T) *corev1.Node {
	t.Helper()
	n, err := shared.client.CoreV1().Nodes().Get(t.Context(), "vic-local", metav1.GetOptions{})
	require.NoError(t, err)
	return n
}
