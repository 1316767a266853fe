package guestlink

import (
	"io"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics count what all links of a node do.
type Metrics struct {
	sessions   prometheus.Counter
	reconnects prometheus.Counter
	failures   prometheus.Counter
	sent       prometheus.Counter
	received   prometheus.Counter
}

// NewMetrics returns Metrics that reg shows; nil is nowhere.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	factory := promauto.With(reg)
	bytes := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "vic_guest_link_bytes_total", Help: "Bytes between this node and its guests, by direction.",
	}, []string{"direction"})
	return &Metrics{
		sessions: factory.NewCounter(prometheus.CounterOpts{
			Name: "vic_guest_sessions_total", Help: "Sessions in which a guest greeted.",
		}),
		reconnects: factory.NewCounter(prometheus.CounterOpts{
			Name: "vic_guest_reconnects_total", Help: "Sessions with a guest that this process had one with before.",
		}),
		failures: factory.NewCounter(prometheus.CounterOpts{
			Name: "vic_guest_connect_failures_total", Help: "Attempts to connect to a guest that came to nothing, those while it boots included.",
		}),
		sent: bytes.WithLabelValues("sent"), received: bytes.WithLabelValues("received"),
	}
}

// greeted counts a session.
func (m *Metrics) greeted(again bool) {
	m.sessions.Inc()
	if again {
		m.reconnects.Inc()
	}
}

// counted counts what goes through a channel.
type counted struct {
	io.ReadWriteCloser
	metrics *Metrics
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Read(b)
	c.metrics.received.Add(float64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.ReadWriteCloser.Write(b)
	c.metrics.sent.Add(float64(n))
	return n, err
}
