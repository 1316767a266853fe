package certs

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"

	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// watchInterval is how often a client certificate is looked at.
	watchInterval = time.Hour
	// sayAgain is how long the log says nothing more of one that ends soon.
	sayAgain = 24 * time.Hour
	// soonAtMost is when a certificate ends soon, unless it lives for less than five times as long.
	soonAtMost = 30 * 24 * time.Hour
)

var clientExpiryDesc = prometheus.NewDesc("vic_client_certificate_expiration_timestamp_seconds",
	"When the client certificate of the kubeconfig ends, in seconds since 1970.", nil, nil)

// Client returns the client certificate by which api identifies itself, as it is now; nil where the credential is none.
func Client(api *rest.Config) (*x509.Certificate, error) {
	text := api.CertData
	if len(text) == 0 && api.CertFile != "" {
		var err error
		if text, err = os.ReadFile(api.CertFile); err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
	}
	if len(text) == 0 {
		return nil, nil //nolint:nilnil // there is none
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("read client certificate: it is not PEM")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read client certificate: %w", err)
	}
	return cert, nil
}

// WatchClient warns in the log before the client certificate of api ends, until ctx ends. Nobody renews it but whoever made it.
func WatchClient(ctx context.Context, api *rest.Config) {
	ticker := time.NewTicker(watchInterval)
	defer ticker.Stop()
	var said time.Time
	for {
		if cert, err := Client(api); err != nil {
			logging.From(ctx).WarnContext(ctx, "client certificate not read", "err", err)
		} else if cert != nil && endsSoon(cert) && time.Since(said) >= sayAgain {
			said = time.Now()
			logging.From(ctx).WarnContext(ctx, "client certificate of the kubeconfig ends soon, renew it (docs/node.md)",
				"user", cert.Subject.CommonName, "in", time.Until(cert.NotAfter).Round(time.Second).String())
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// endsSoon is true in the last fifth of a certificate's life, and in the last 30 days at most.
func endsSoon(cert *x509.Certificate) bool {
	return time.Until(cert.NotAfter) < min(soonAtMost, cert.NotAfter.Sub(cert.NotBefore)/5)
}

// ClientCollector returns a prometheus.Collector of when the client certificate of api ends.
func ClientCollector(api *rest.Config) prometheus.Collector { return clientCollector{api} }

type clientCollector struct{ api *rest.Config }

// Describe implements prometheus.Collector.
func (clientCollector) Describe(to chan<- *prometheus.Desc) { to <- clientExpiryDesc }

// Collect implements prometheus.Collector.
func (c clientCollector) Collect(to chan<- prometheus.Metric) {
	if cert, err := Client(c.api); err == nil && cert != nil {
		to <- prometheus.MustNewConstMetric(clientExpiryDesc, prometheus.GaugeValue, float64(cert.NotAfter.Unix()))
	}
}
