package certs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/virtual-kubelet/vic/provider/certs"
)

const settle = 10 * time.Second

func nodeRequest() *x509.CertificateRequest {
	return &x509.CertificateRequest{
		Subject:     pkix.Name{CommonName: "system:node:v", Organization: []string{"system:nodes"}},
		IPAddresses: []net.IP{net.ParseIP("10.0.0.1")},
		DNSNames:    []string{"v"},
	}
}

func encode(t *testing.T, request *x509.CertificateRequest) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificateRequest(rand.Reader, request, key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func csrOf(t *testing.T, request *x509.CertificateRequest) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "csr"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: certificatesv1.KubeletServingSignerName,
			Username:   "system:node:v",
			Usages:     []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth},
			Request:    encode(t, request),
		},
	}
}

// decided runs an Approver until it has dealt with csr and one after it, which it approves.
func decided(t *testing.T, csr *certificatesv1.CertificateSigningRequest) []certificatesv1.CertificateSigningRequestCondition {
	t.Helper()
	good := csrOf(t, nodeRequest())
	good.Name = "good"
	client := fake.NewClientset(csr)
	csrs := client.CertificatesV1().CertificateSigningRequests()
	approver := certs.NewApprover(certs.ApproverConfig{
		Client: client, NodeName: "v", IPs: []net.IP{net.ParseIP("10.0.0.1")}, DNSNames: []string{"v"},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- approver.Run(ctx) }() // ends with ctx
	defer func() {
		cancel()
		require.NoError(t, <-done)
	}()
	_, err := csrs.Create(t.Context(), good, metav1.CreateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, err := csrs.Get(t.Context(), "good", metav1.GetOptions{})
		return err == nil && len(got.Status.Conditions) == 1
	}, settle, time.Millisecond)
	got, err := csrs.Get(t.Context(), csr.Name, metav1.GetOptions{})
	require.NoError(t, err)
	return got.Status.Conditions
}

func TestApproverApprovesItsOwnNode(t *testing.T) {
	conditions := decided(t, csrOf(t, nodeRequest()))
	require.Len(t, conditions, 1)
	assert.Equal(t, certificatesv1.CertificateApproved, conditions[0].Type)
}

func TestApproverLeavesAllElseAlone(t *testing.T) {
	type csr = certificatesv1.CertificateSigningRequest
	tests := map[string]struct {
		request func(r *x509.CertificateRequest)
		change  func(c *csr)
	}{
		"another node's name":       {request: func(r *x509.CertificateRequest) { r.Subject.CommonName = "system:node:w" }},
		"another group":             {request: func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"system:masters"} }},
		"one group more":            {request: func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"system:nodes", "x"} }},
		"another address":           {request: func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.ParseIP("10.0.0.2")} }},
		"one address more":          {request: func(r *x509.CertificateRequest) { r.IPAddresses = append(r.IPAddresses, net.ParseIP("10.0.0.2")) }},
		"no address":                {request: func(r *x509.CertificateRequest) { r.IPAddresses = nil }},
		"another host name":         {request: func(r *x509.CertificateRequest) { r.DNSNames = []string{"kubernetes.default"} }},
		"a URI":                     {request: func(r *x509.CertificateRequest) { r.URIs = []*url.URL{{Scheme: "spiffe", Host: "x"}} }},
		"an e-mail address":         {request: func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@example.com"} }},
		"another user":              {change: func(c *csr) { c.Spec.Username = "system:node:w" }},
		"another signer":            {change: func(c *csr) { c.Spec.SignerName = certificatesv1.KubeAPIServerClientSignerName }},
		"the use as a client":       {change: func(c *csr) { c.Spec.Usages = append(c.Spec.Usages, certificatesv1.UsageClientAuth) }},
		"no use as a server":        {change: func(c *csr) { c.Spec.Usages = []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature} }},
		"what is not a request":     {change: func(c *csr) { c.Spec.Request = []byte("x") }},
		"two requests":              {change: func(c *csr) { c.Spec.Request = append(c.Spec.Request, c.Spec.Request...) }},
		"a request that is damaged": {change: func(c *csr) { c.Spec.Request = damage(c.Spec.Request) }},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			request := nodeRequest()
			if tt.request != nil {
				tt.request(request)
			}
			csr := csrOf(t, request)
			if tt.change != nil {
				tt.change(csr)
			}
			assert.Empty(t, decided(t, csr))
		})
	}
	t.Run("what someone has denied", func(t *testing.T) {
		csr := csrOf(t, nodeRequest())
		csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateDenied}}
		assert.Equal(t, csr.Status.Conditions, decided(t, csr))
	})
}

// damage spoils the signature, which comes last.
func damage(text []byte) []byte {
	block, _ := pem.Decode(text)
	block.Bytes[len(block.Bytes)-1] ^= 1
	return pem.EncodeToMemory(block)
}
