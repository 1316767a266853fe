package worker

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/virtual-kubelet/vic/steps"
)

// Parts of a pod's start that are not steps of a worker.
const (
	stepAdmit = "admit" // within create
	stepImage = "image" // of one container, from when it is wanted to when it is here; beside the others
	stepRun   = "run"   // from the guest's configuration to the first container that runs
)

// startBuckets reach from a step in memory to an emulated machine that pulls a large image.
var startBuckets = []float64{.01, .05, .1, .25, .5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120, 300, 600}

// Metrics show what workers do.
type Metrics struct {
	// Steps count those of all pods.
	Steps  *steps.Metrics
	starts prometheus.Histogram
	parts  *prometheus.HistogramVec
}

// NewMetrics returns Metrics that reg shows; nil is nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		Steps: steps.NewMetrics(reg, "pod"),
		starts: f.NewHistogram(prometheus.HistogramOpts{
			Name: "vic_pod_start_duration_seconds", Buckets: startBuckets,
			Help: "From when a new pod was seen in the API to when it was Running.",
		}),
		parts: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vic_pod_start_step_duration_seconds", Buckets: startBuckets,
			Help: "How long the steps of the start of new pods took: create and, within it, admit; powerOn (to the guest's greeting), configure, run (to the first container), and image, beside the others.",
		}, []string{"step"}),
	}
}

// Admitted counts how long the admission of a pod took.
func (m *Metrics) Admitted(took time.Duration) { m.observe(stepAdmit, took) }

func (m *Metrics) observe(step string, took time.Duration) {
	m.parts.WithLabelValues(step).Observe(took.Seconds())
}
