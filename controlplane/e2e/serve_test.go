package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// podListen is an address of loopback that nobody else uses; that it need not exist is a test of package listen.
const podListen = "127.99.36.3:26443"

// TestControlPlane looks at one control plane from all sides.
func TestControlPlane(t *testing.T) {
	t.Parallel()
	// The directory's name is longer than a socket's path may be.
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	p := start(t, dir, "--pod-listen", podListen)

	t.Run("kubectl and server are of the version that is promised", func(t *testing.T) {
		var v struct{ ClientVersion, ServerVersion struct{ GitVersion string } }
		require.NoError(t, json.Unmarshal([]byte(p.kubectl(t, "version", "-o", "json")), &v))
		want, err := kubernetesVersion()
		require.NoError(t, err)
		assert.Equal(t, want, v.ClientVersion.GitVersion)
		assert.Equal(t, want, v.ServerVersion.GitVersion)
	})
	t.Run("what each pod needs is there at the ready line", func(t *testing.T) {
		namespaces := p.kubectl(t, "get", "ns", "-o", "name")
		assert.Contains(t, namespaces, "namespace/default")
		assert.Equal(t, "10.96.0.1", p.kubectl(t, "get", "svc", "kubernetes", "-o", "jsonpath={.spec.clusterIP}"))
		assert.Contains(t, p.kubectl(t, "get", "sa,cm", "-o", "name"), "serviceaccount/default")
		assert.Contains(t, p.kubectl(t, "get", "sa,cm", "-o", "name"), "configmap/kube-root-ca.crt")
	})
	t.Run("only the owner can read", func(t *testing.T) { checkModes(t, p) })
	t.Run("controllers make pods of a deployment and the scheduler looks at them", func(t *testing.T) {
		p.kubectl(t, "create", "deployment", "web", "--image", "example.invalid/web")
		eventually(t, "FailedScheduling", func() string {
			return p.kubectl(t, "get", "events", "--field-selector", "reason=FailedScheduling,type=Warning",
				"-o", "jsonpath={.items[0].reason}", "--ignore-not-found")
		})
	})
	t.Run("it serves pods at the further address", func(t *testing.T) {
		code, body := get(t, p, "https://"+podListen+"/readyz", "")
		assert.Equal(t, http.StatusOK, code)
		assert.Equal(t, "ok", body)
	})
	t.Run("it stops while someone watches and holds connections", func(t *testing.T) {
		testStopUnderLoad(t, p)
	})
}

func checkModes(t *testing.T, p *plane) {
	t.Helper()
	private := []string{"admin.kubeconfig", "vic-node.kubeconfig", "controlplane.log", "controlplane.json"}
	keys, err := filepath.Glob(p.file("pki", "*.key"))
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, name := range private {
		keys = append(keys, p.file(name))
	}
	for _, path := range keys {
		info, err := os.Stat(path)
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), info.Mode().Perm(), path)
	}
	for _, name := range []string{"pki", "etcd", "components", ""} {
		info, err := os.Stat(p.file(name))
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o700), info.Mode().Perm(), name)
	}
}

// get asks with a bearer token, or without any credentials when it is empty, and trusts the control plane's authority
// alone.
func get(t *testing.T, p *plane, address, token string) (int, string) {
	t.Helper()
	ca, err := os.ReadFile(p.file("pki", "ca.crt"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	require.NoError(t, err)
	defer func() { require.NoError(t, response.Body.Close()) }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}
