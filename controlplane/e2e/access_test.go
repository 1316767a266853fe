package e2e_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestAccess is about who may do what.
func TestAccess(t *testing.T) {
	t.Parallel()
	p := start(t, t.TempDir(), "--node-name", "node-1")

	t.Run("health is for everybody and nothing else is", func(t *testing.T) { testAnonymous(t, p) })
	t.Run("a user without a role may do nothing", func(t *testing.T) {
		r := p.try(t, "admin.kubeconfig", "--as", "mallory", "get", "pods", "-A")
		assert.NotZero(t, r.code)
		assert.Contains(t, r.stderr, "Forbidden")
	})
	t.Run("a certificate of another authority is nobody's", func(t *testing.T) { testForeignCertificate(t, p) })
	t.Run("a service account's token is accepted and may do nothing by itself", func(t *testing.T) {
		testToken(t, p)
	})
	t.Run("the node may do its work and no more", func(t *testing.T) { testNodeRights(t, p) })
	t.Run("the node gets a serving certificate that the API server trusts", func(t *testing.T) {
		testServingCertificate(t, p)
	})
}

func testAnonymous(t *testing.T, p *plane) {
	t.Helper()
	for path, want := range map[string]int{
		"/livez": http.StatusOK, "/readyz": http.StatusOK, "/healthz": http.StatusOK,
		"/version": http.StatusUnauthorized, "/api": http.StatusUnauthorized, "/metrics": http.StatusUnauthorized,
		"/api/v1/namespaces/default/secrets": http.StatusUnauthorized,
	} {
		code, _ := get(t, p, p.url+path, "")
		assert.Equal(t, want, code, path)
	}
	code, _ := get(t, p, p.url+"/api", "not-a-token")
	assert.Equal(t, http.StatusUnauthorized, code)
}

func testForeignCertificate(t *testing.T, p *plane) {
	t.Helper()
	other := start(t, t.TempDir())
	r := other.try(t, "admin.kubeconfig", "--server", p.url, "--insecure-skip-tls-verify", "get", "ns")
	assert.NotZero(t, r.code)
	assert.Contains(t, r.stderr, "Unauthorized")
	r = other.try(t, "admin.kubeconfig", "--server", p.url, "get", "ns")
	assert.NotZero(t, r.code)
	assert.Contains(t, r.stderr, "unknown authority")
}

func testToken(t *testing.T, p *plane) {
	t.Helper()
	token := p.kubectl(t, "create", "token", "default")
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	require.NoError(t, err)
	var claims struct {
		Issuer   string   `json:"iss"`
		Subject  string   `json:"sub"`
		Audience []string `json:"aud"`
	}
	require.NoError(t, json.Unmarshal(payload, &claims))
	assert.Equal(t, "https://kubernetes.default.svc.cluster.local", claims.Issuer)
	assert.Equal(t, "system:serviceaccount:default:default", claims.Subject)
	assert.Equal(t, []string{claims.Issuer}, claims.Audience)

	code, _ := get(t, p, p.url+"/api", token)
	assert.Equal(t, http.StatusOK, code)
	code, body := get(t, p, p.url+"/api/v1/namespaces/default/secrets", token)
	assert.Equal(t, http.StatusForbidden, code)
	assert.Contains(t, body, "system:serviceaccount:default:default")
}

func testNodeRights(t *testing.T, p *plane) {
	t.Helper()
	assert.Contains(t, p.asNode(t, "auth", "whoami").stdout, "system:node:node-1")
	rights := map[string]string{
		"create nodes": "yes", "patch node/node-1 --subresource=status": "yes", "delete node/node-1": "no",
		"create pods --subresource=exec": "no", "update pods": "no", "create events": "yes",
		"get secrets -A": "no", "list secrets -A": "no", "create secrets": "no", "watch configmaps -A": "no",
		"get configmap/extension-apiserver-authentication -n kube-system": "yes",
		"update lease/node-1 -n kube-node-lease":                          "yes", "update lease/node-2 -n kube-node-lease": "no",
		"create certificatesigningrequests.certificates.k8s.io":                        "yes",
		"update certificatesigningrequests.certificates.k8s.io --subresource=approval": "no",
		"create tokenreviews.authentication.k8s.io":                                    "yes", "create subjectaccessreviews.authorization.k8s.io": "yes",
		"create clusterrolebindings.rbac.authorization.k8s.io": "no", "impersonate users": "no",
	}
	for question, want := range rights {
		args := append([]string{"auth", "can-i"}, strings.Fields(question)...)
		answer, _, _ := strings.Cut(strings.TrimSpace(p.asNode(t, args...).stdout), " ") // behind it may be why
		assert.Equal(t, want, answer, question)
	}
	r := p.asNode(t, "create", "token", "default")
	assert.NotZero(t, r.code, "none of its pods has that service account")
}

// testServingCertificate does what the node and vic up do together.
func testServingCertificate(t *testing.T, p *plane) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "system:node:node-1", Organization: []string{"system:nodes"}},
		IPAddresses: []net.IP{net.IPv4(172, 30, 0, 1)},
	}, key)
	require.NoError(t, err)
	encoded := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request})
	manifest := fmt.Sprintf(`{"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
		"metadata": {"name": "serving"}, "spec": {"signerName": "kubernetes.io/kubelet-serving",
		"usages": ["digital signature", "server auth"], "request": %q}}`, base64.StdEncoding.EncodeToString(encoded))
	r := runInput(t, manifest, "kubectl", "--kubeconfig", p.file("vic-node.kubeconfig"), "create", "-f", "-")
	require.Zero(t, r.code, r.stderr)
	p.kubectl(t, "certificate", "approve", "serving")

	var issued string
	require.Eventually(t, func() bool {
		issued = p.kubectl(t, "get", "csr", "serving", "-o", "jsonpath={.status.certificate}")
		return issued != ""
	}, readyLimit, pollInterval)
	data, err := base64.StdEncoding.DecodeString(issued)
	require.NoError(t, err)
	block, _ := pem.Decode(data)
	require.NotNil(t, block)
	c, err := x509.ParseCertificate(block.Bytes)
	require.NoError(t, err)
	ca, err := os.ReadFile(p.file("pki", "ca.crt"))
	require.NoError(t, err)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(ca))
	_, err = c.Verify(x509.VerifyOptions{DNSName: "172.30.0.1", Roots: roots})
	require.NoError(t, err)
}
