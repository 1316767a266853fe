package pki_test

import (
	"crypto/x509"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/util/cert"

	"github.com/virtual-kubelet/vic/controlplane/internal/pki"
)

var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func config(dir string) pki.Config {
	return pki.Config{
		Dir: dir, NodeName: "vic-local", ServiceIP: net.IPv4(10, 96, 0, 1), PodListen: net.IPv4(172, 30, 0, 1),
	}
}

func ensure(t *testing.T, c pki.Config, at time.Time) *pki.Set {
	t.Helper()
	set, err := pki.Ensure(c, at)
	require.NoError(t, err)
	return set
}

func certificate(t *testing.T, p pki.Pair) *x509.Certificate {
	t.Helper()
	certs, err := cert.CertsFromFile(p.CertFile)
	require.NoError(t, err)
	return certs[0]
}

func verify(t *testing.T, ca, leaf pki.Pair, options x509.VerifyOptions) {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(certificate(t, ca))
	options.Roots = roots
	_, err := certificate(t, leaf).Verify(options)
	require.NoError(t, err)
}

func serverOf(at time.Time, name string) x509.VerifyOptions {
	return x509.VerifyOptions{
		DNSName: name, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
}

func clientOf(at time.Time) x509.VerifyOptions {
	return x509.VerifyOptions{CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
}

func TestServingCertificateIsGoodForEachNameOfTheAPIServer(t *testing.T) {
	set := ensure(t, config(t.TempDir()), now)
	for _, name := range []string{
		"127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"kubernetes.default.svc.cluster.local", "10.96.0.1", "172.30.0.1",
	} {
		t.Run(name, func(t *testing.T) {
			verify(t, set.CA, set.APIServer, serverOf(now, name))
		})
	}
}

func TestClientCertificatesSayWhoTheyAre(t *testing.T) {
	set := ensure(t, config(t.TempDir()), now)
	tests := map[string]struct {
		pair   pki.Pair
		ca     pki.Pair
		user   string
		groups []string
	}{
		"the administrator is a master":       {set.Admin, set.CA, "kubernetes-admin", []string{"system:masters"}},
		"the node is what its signer demands": {set.Node, set.CA, "system:node:vic-local", []string{"system:nodes"}},
		"the controller manager has its role": {set.ControllerManager, set.CA, "system:kube-controller-manager", nil},
		"the scheduler has its role":          {set.Scheduler, set.CA, "system:kube-scheduler", nil},
		"the API server is known to kubelets": {set.KubeletClient, set.CA, pki.KubeletClientUser, nil},
		"the front proxy has its own authority": {
			set.FrontProxyClient, set.FrontProxyCA, pki.FrontProxyUser, nil,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			verify(t, tt.ca, tt.pair, clientOf(now))
			c := certificate(t, tt.pair)
			assert.Equal(t, tt.user, c.Subject.CommonName)
			assert.Equal(t, tt.groups, c.Subject.Organization)
			assert.WithinDuration(t, now.AddDate(1, 0, 0), c.NotAfter, 24*time.Hour)
		})
	}
}

func TestNobodyElseReadsTheKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	require.NoError(t, os.Mkdir(dir, 0o755))
	ensure(t, config(dir), now)

	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm())
	keys, err := filepath.Glob(filepath.Join(dir, "*.key"))
	require.NoError(t, err)
	assert.Len(t, keys, 10)
	for _, key := range keys {
		info, err := os.Stat(key)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), key)
	}
}

// TestWhatIsReissued changes one thing and looks at which of three certificates are new.
func TestWhatIsReissued(t *testing.T) {
	type reissued struct{ ca, serving, node bool }
	tests := map[string]struct {
		change func(t *testing.T, set *pki.Set, c *pki.Config)
		later  time.Duration
		want   reissued
	}{
		"nothing, when nothing changed": {want: reissued{}},
		"nothing, while the year is young": {
			later: 330 * 24 * time.Hour, want: reissued{},
		},
		"the leaves, in the last month of their year": {
			later: 340 * 24 * time.Hour, want: reissued{serving: true, node: true},
		},
		"all, when the authority's ten years end": {
			later: 3640 * 24 * time.Hour, want: reissued{ca: true, serving: true, node: true},
		},
		"the serving certificate, for another pod address": {
			change: func(_ *testing.T, _ *pki.Set, c *pki.Config) { c.PodListen = net.IPv4(172, 30, 9, 1) },
			want:   reissued{serving: true},
		},
		"the serving certificate, without a pod address": {
			change: func(_ *testing.T, _ *pki.Set, c *pki.Config) { c.PodListen = nil },
			want:   reissued{serving: true},
		},
		"the node's certificate, for another name": {
			change: func(_ *testing.T, _ *pki.Set, c *pki.Config) { c.NodeName = "other" },
			want:   reissued{node: true},
		},
		"a leaf whose key is lost": {
			change: func(t *testing.T, set *pki.Set, _ *pki.Config) {
				t.Helper()
				require.NoError(t, os.Remove(set.Node.KeyFile))
			},
			want: reissued{node: true},
		},
		"a leaf with the key of another": {
			change: func(t *testing.T, set *pki.Set, _ *pki.Config) {
				t.Helper()
				key, err := os.ReadFile(set.Admin.KeyFile)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(set.Node.KeyFile, key, 0o600))
			},
			want: reissued{node: true},
		},
		"all, when the authority is damaged": {
			change: func(t *testing.T, set *pki.Set, _ *pki.Config) {
				t.Helper()
				require.NoError(t, os.WriteFile(set.CA.CertFile, []byte("damaged"), 0o644))
			},
			want: reissued{ca: true, serving: true, node: true},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := config(t.TempDir())
			set := ensure(t, c, now)
			ca, serving, node := certificate(t, set.CA), certificate(t, set.APIServer), certificate(t, set.Node)
			if tt.change != nil {
				tt.change(t, set, &c)
			}

			at := now.Add(tt.later)
			set = ensure(t, c, at)

			assert.Equal(t, tt.want, reissued{
				ca:      !ca.Equal(certificate(t, set.CA)),
				serving: !serving.Equal(certificate(t, set.APIServer)),
				node:    !node.Equal(certificate(t, set.Node)),
			})
			verify(t, set.CA, set.APIServer, serverOf(at, "localhost"))
			verify(t, set.CA, set.Node, clientOf(at))
		})
	}
}

func TestServiceAccountKeyIsNeverReplaced(t *testing.T) {
	c := config(t.TempDir())
	before, err := os.ReadFile(ensure(t, c, now).ServiceAccountKeys.PrivateFile)
	require.NoError(t, err)

	set := ensure(t, c, now.AddDate(20, 0, 0))

	after, err := os.ReadFile(set.ServiceAccountKeys.PrivateFile)
	require.NoError(t, err)
	assert.Equal(t, before, after)
}

func TestADamagedServiceAccountKeyIsAnError(t *testing.T) {
	c := config(t.TempDir())
	set := ensure(t, c, now)
	require.NoError(t, os.WriteFile(set.ServiceAccountKeys.PrivateFile, []byte("damaged"), 0o600))

	_, err := pki.Ensure(c, now)

	require.ErrorContains(t, err, "service-account")
}
