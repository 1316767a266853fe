package certs_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/provider/certs"
)

// lasting is a certificate of that life.
func lasting(t *testing.T, from, to time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "node"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// diary is what a log has said.
type diary struct {
	mu   sync.Mutex // guards said
	said bytes.Buffer
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.said.Write(p)
}

// take returns what was said since the last call.
func (d *diary) take() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer d.said.Reset()
	return d.said.String()
}

func TestTheEndOfAClientCertificateIsSaidInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		var log diary
		ctx, cancel := context.WithCancel(logging.Into(t.Context(), slog.New(slog.NewTextHandler(&log, nil))))
		begin := time.Now()
		api := &rest.Config{TLSClientConfig: rest.TLSClientConfig{CertFile: filepath.Join(t.TempDir(), "crt")}}
		require.NoError(t, os.WriteFile(api.CertFile, lasting(t, begin, begin.Add(365*day)), 0o600))
		done := make(chan struct{})
		go func() { // ends with ctx
			defer close(done)
			certs.WatchClient(ctx, api)
		}()
		after := func(d time.Duration) string {
			<-time.After(d)
			synctest.Wait()
			return log.take()
		}
		assert.Empty(t, after(335*day))
		assert.Contains(t, after(time.Hour), `msg="client certificate of the kubeconfig ends soon, renew it (docs/node.md)" user=node in=`)
		assert.Equal(t, 1, strings.Count(after(day), "ends soon"), "once a day")
		now := time.Now()
		require.NoError(t, os.WriteFile(api.CertFile, lasting(t, now, now.Add(10*day)), 0o600))
		assert.Empty(t, after(7*day), "one that was renewed counts, and one of ten days has its last fifth")
		assert.Contains(t, after(2*day), "ends soon")
		cancel()
		<-done
	})
}

func TestTheEndOfAClientCertificateIsAMetric(t *testing.T) {
	end := time.Unix(2_000_000_000, 0)
	for name, tt := range map[string]struct {
		data []byte
		want string
	}{
		"a certificate": {lasting(t, end.Add(-time.Hour), end), `
# HELP vic_client_certificate_expiration_timestamp_seconds When the client certificate of the kubeconfig ends, in seconds since 1970.
# TYPE vic_client_certificate_expiration_timestamp_seconds gauge
vic_client_certificate_expiration_timestamp_seconds 2e+09
`},
		"a token, which has none": {nil, ""},
		"what is not one":         {[]byte("x"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := certs.ClientCollector(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CertData: tt.data}})
			require.NoError(t, testutil.CollectAndCompare(c, strings.NewReader(tt.want)))
		})
	}
	_, err := certs.Client(&rest.Config{TLSClientConfig: rest.TLSClientConfig{CertFile: "/none"}})
	require.Error(t, err)
}
