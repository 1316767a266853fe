package images

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// pullBuckets reach from an image that is nearly here to a large one over a slow line.
var pullBuckets = []float64{.01, .05, .1, .25, .5, 1, 2, 3, 5, 8, 13, 21, 34, 60, 120, 300, 600}

// metrics count requests for images and their pulls.
type metrics struct {
	requests *prometheus.CounterVec
	pulls    *prometheus.HistogramVec
	pulling  prometheus.Gauge
	waiting  prometheus.Gauge
}

// newMetrics returns metrics that reg shows; nil is nowhere.
func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "vic_image_requests_total", Help: "Requests of containers for images, by result: present (a hit of the cache), pulled, imported (a pull failed) or failed.",
		}, []string{"result"}),
		pulls: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vic_image_pull_duration_seconds", Buckets: pullBuckets,
			Help: "How long pulls of images took, without waiting for others.",
		}, []string{"result"}),
		pulling: f.NewGauge(prometheus.GaugeOpts{Name: "vic_image_pulls_running", Help: "Pulls of images that run now."}),
		waiting: f.NewGauge(prometheus.GaugeOpts{Name: "vic_image_pulls_waiting", Help: "Pulls of images that wait for others to end."}),
	}
}

// requested counts how a request for an image ended.
func (m *metrics) requested(result string) { m.requests.WithLabelValues(result).Inc() }

// pulled counts the end of a pull.
func (m *metrics) pulled(took time.Duration, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.pulls.WithLabelValues(result).Observe(took.Seconds())
}
