package operations

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/cache"
)

// Stages of a pod's start, in order; images are pulled beside the others.
const (
	stageAdmit     = "admit"
	stageCreate    = "create"    // of the VM
	stageBoot      = "boot"      // from power on to the guest's greeting
	stageConfigure = "configure" // of the guest
	stageImage     = "image"     // of one container, from when it is wanted to when it is here
	stageRun       = "run"       // from the guest's configuration to the first container that runs
)

// stageOf are the stages that are steps of a worker.
var stageOf = map[string]string{stepCreate: stageCreate, stepPowerOn: stageBoot, stepConfigure: stageConfigure}

// startBuckets reach from a step in memory to an emulated machine that pulls a large image.
var startBuckets = []float64{.01, .05, .1, .25, .5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120, 300, 600}

// Metrics are what operations tells of its work.
type Metrics struct {
	starts  prometheus.Histogram
	stages  *prometheus.HistogramVec
	steps   *prometheus.CounterVec
	acting  *prometheus.GaugeVec
	workers prometheus.Gauge
}

// NewMetrics returns Metrics that reg shows; nil is nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		starts: f.NewHistogram(prometheus.HistogramOpts{
			Name: "vic_pod_start_duration_seconds", Buckets: startBuckets,
			Help: "From when a new pod was seen in the API to when it was Running.",
		}),
		stages: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vic_pod_start_stage_duration_seconds", Buckets: startBuckets,
			Help: "How long stages of the start of new pods took: admit, create, boot (power on to greeting), configure, image, run (to the first container).",
		}, []string{"stage"}),
		steps: f.NewCounterVec(prometheus.CounterOpts{
			Name: "vic_pod_steps_total", Help: "Steps that were done for pods, by step and result.",
		}, []string{"step", "result"}),
		acting: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vic_pod_steps_running", Help: "Steps that are being done for pods now.",
		}, []string{"step"}),
		workers: f.NewGauge(prometheus.GaugeOpts{
			Name: "vic_pod_workers", Help: "Pods that are being looked after.",
		}),
	}
}

func (m *Metrics) stage(name string, took time.Duration) {
	m.stages.WithLabelValues(name).Observe(took.Seconds())
}

var podsDesc = prometheus.NewDesc("vic_pods", "Pods of this node by their phase.", []string{"phase"}, nil)

// podPhases tells, when it is asked, how many pods there are. It is a prometheus.Collector.
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
