package operations_test

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace/noop"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/virtual-kubelet/vic/internal/testmetrics"
)

func TestStartOfAPodIsMeasuredByStage(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodRunning)
		for _, step := range []string{"admit", "create", "powerOn", "configure", "image", "run"} {
			assert.InDelta(t, 1, testmetrics.Value(t, n.metrics, `vic_pod_start_step_duration_seconds{step="`+step+`"}`), 0, step)
		}
		for series, want := range map[string]float64{
			`vic_pod_start_duration_seconds`:                    1,
			`vic_pods{phase="Running"}`:                         1,
			`vic_pods{phase="Pending"}`:                         0,
			`vic_pod_workers`:                                   1,
			`vic_pod_steps_total{result="ok",step="powerOn"}`:   1,
			`vic_pod_steps_running{step="powerOn"}`:             0,
			`vic_image_requests_total{result="pulled"}`:         1,
			`vic_image_pull_duration_seconds{result="ok"}`:      1,
			`vic_image_pulls_running`:                           0,
			`vic_image_pulls_waiting`:                           0,
			`vic_image_requests_total{result="present"}`:        -1,
			`vic_pod_steps_total{result="error",step="create"}`: -1,
		} {
			assert.InDelta(t, want, testmetrics.Value(t, n.metrics, series), 0, series)
		}
		problems, err := testutil.GatherAndLint(n.metrics)
		require.NoError(t, err)
		assert.Empty(t, problems)

		n.restart(withStatus(p, n.status()))
		n.awaitPhase(corev1.PodRunning)
		sleep(time.Minute)
		assert.InDelta(t, 0, testmetrics.Value(t, n.metrics, `vic_pod_start_duration_seconds`), 0, "a pod that runs already is not a start")
	})
}

func TestStartOfAPodIsOneTrace(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	t.Cleanup(func() { otel.SetTracerProvider(noop.NewTracerProvider()) })
	onNode(t, func(t *testing.T, n *node) {
		n.manager.Sync(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.awaitPhase(corev1.PodRunning)
		parents := map[string]string{}
		names := map[string]string{}
		ended := spans.Ended()
		for _, s := range ended {
			names[s.SpanContext().SpanID().String()] = s.Name()
		}
		var root sdktrace.ReadOnlySpan
		for _, s := range ended {
			if s.Name() == "start pod" {
				root = s
			}
			parents[s.Name()] = names[s.Parent().SpanID().String()]
		}
		require.NotNil(t, root)
		for child, parent := range map[string]string{
			"pod create": "start pod", "admit pod": "pod create", "hypervisor Create": "pod create",
			"pod powerOn": "start pod", "hypervisor PowerOn": "pod powerOn", "await greeting": "pod powerOn",
			"pod configure": "start pod", "get image": "start pod", "pull image": "get image",
		} {
			assert.Equal(t, parent, parents[child], child)
		}
		for _, s := range ended {
			if s.Parent().IsValid() {
				assert.Equal(t, root.SpanContext().TraceID(), s.SpanContext().TraceID(), s.Name())
			}
		}
	})
}

func TestPodThatDoesNotFitIsRejectedAsAKubeletDoes(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.facts.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
		p := pod(corev1.RestartPolicyAlways, "sleep 10000")
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}
		n.manager.Sync(p)
		n.awaitPhase(corev1.PodFailed)
		s := n.status()
		assert.Equal(t, "OutOfcpu", s.Reason)
		assert.Equal(t, "Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 0, capacity: 1000", s.Message)
		assert.Equal(t, 1, n.events.Count("Warning OutOfcpu Node didn't have enough resource: cpu"), n.events)
		assert.Zero(t, n.count("Create"))
	})
}

func TestPodsOfAFormerRunCountBeforeNewOnes(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.facts.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1")}
		request := func(p *corev1.Pod) *corev1.Pod {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("600m")}
			return p
		}
		former := request(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		n.manager.Sync(former)
		n.awaitPhase(corev1.PodRunning)
		late := request(pod(corev1.RestartPolicyAlways, "sleep 10000"))
		late.UID, late.Name = "uid-2", "late"
		n.restart(late, withStatus(former, n.status()))
		phase := func() corev1.PodPhase {
			e, _ := n.pods.Get("uid-2")
			return e.Pod.Status.Phase
		}
		n.await(time.Minute, "the late pod is rejected", func() bool { return phase() == corev1.PodFailed })
		assert.Equal(t, corev1.PodRunning, n.status().Phase)
	})
}
