package operations

import (
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/cache"
)

var podsDesc = prometheus.NewDesc("vic_pods", "Pods of this node by their phase.", []string{"phase"}, nil)

// podPhases counts the pods when it is asked. It is a prometheus.Collector.
type podPhases struct{ pods *cache.Pods }

// Describe implements prometheus.Collector.
func (podPhases) Describe(to chan<- *prometheus.Desc) { to <- podsDesc }

// Collect implements prometheus.Collector.
func (c podPhases) Collect(to chan<- prometheus.Metric) {
	phases := map[corev1.PodPhase]int{
		corev1.PodPending: 0, corev1.PodRunning: 0, corev1.PodSucceeded: 0, corev1.PodFailed: 0, corev1.PodUnknown: 0,
	}
	for _, e := range c.pods.List() {
		phase := e.Pod.Status.Phase
		switch _, known := phases[phase]; {
		case e.Restored, phase != "" && !known:
			phase = corev1.PodUnknown
		case phase == "":
			phase = corev1.PodPending
		}
		phases[phase]++
	}
	for phase, n := range phases {
		to <- prometheus.MustNewConstMetric(podsDesc, prometheus.GaugeValue, float64(n), string(phase))
	}
}
