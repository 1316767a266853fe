package steps

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Results of steps, as metrics show them.
const (
	resultOK        = "ok"
	resultError     = "error"
	resultCancelled = "cancelled"
)

// Metrics count what the loops of one kind do.
type Metrics struct {
	steps   *prometheus.CounterVec
	running *prometheus.GaugeVec
	loops   prometheus.Gauge
}

// NewMetrics returns Metrics of loops of that kind, which is one word, such as pod. They are shown by reg; nil is nowhere.
func NewMetrics(reg prometheus.Registerer, kind string) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		steps: f.NewCounterVec(prometheus.CounterOpts{
			Name: "vic_" + kind + "_steps_total", Help: "Steps that were done for " + kind + "s, by step and result.",
		}, []string{"step", "result"}),
		running: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vic_" + kind + "_steps_running", Help: "Steps that are being done for " + kind + "s now.",
		}, []string{"step"}),
		loops: f.NewGauge(prometheus.GaugeOpts{
			Name: "vic_" + kind + "_workers", Help: "The " + kind + "s that are being looked after.",
		}),
	}
}

func (m *Metrics) done(step, result string) { m.steps.WithLabelValues(step, result).Inc() }
