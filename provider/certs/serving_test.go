package certs_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/virtual-kubelet/vic/provider/certs"
)

func newServing(t *testing.T, client *fake.Clientset, dir, ip string) *certs.Serving {
	t.Helper()
	s, err := certs.NewServing(certs.Config{
		Client: client, NodeName: "v", IPs: []net.IP{net.ParseIP(ip)}, DNSNames: []string{"v"}, Dir: dir,
	})
	require.NoError(t, err)
	return s
}

// served is the certificate that a client would see.
func served(t *testing.T, s *certs.Serving) *x509.Certificate {
	t.Helper()
	c, err := s.GetCertificate(nil)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(c.Certificate[0])
	require.NoError(t, err)
	return leaf
}

// signer is the authority of a cluster that signs everything.
type signer struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cluster"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &signer{key: key, cert: cert}
}

// sign signs the first request that client holds.
func (s *signer) sign(t *testing.T, client *fake.Clientset) {
	t.Helper()
	csrs := client.CertificatesV1().CertificateSigningRequests()
	var csr *certificatesv1.CertificateSigningRequest
	require.Eventually(t, func() bool {
		list, err := csrs.List(t.Context(), metav1.ListOptions{})
		if err != nil || len(list.Items) == 0 {
			return false
		}
		csr = &list.Items[0]
		return true
	}, settle, time.Millisecond)
	assert.Equal(t, certificatesv1.KubeletServingSignerName, csr.Spec.SignerName)
	block, _ := pem.Decode(csr.Spec.Request)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: request.Subject, DNSNames: request.DNSNames, IPAddresses: request.IPAddresses,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, s.cert, request.PublicKey, s.key)
	require.NoError(t, err)
	csr.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{
		Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue,
	}}
	csr.Status.Certificate = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	_, err = csrs.UpdateStatus(t.Context(), csr, metav1.UpdateOptions{})
	require.NoError(t, err)
}

func start(t *testing.T, s *certs.Serving) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func waitSigned(t *testing.T, s *certs.Serving) {
	t.Helper()
	select {
	case <-s.Signed():
	case <-time.After(settle):
		require.Fail(t, "not signed in time")
	}
}

func TestServingSignsItselfUntilTheClusterDoes(t *testing.T) {
	client, dir := fake.NewClientset(), filepath.Join(t.TempDir(), "certs")
	s := newServing(t, client, dir, "10.0.0.1")
	own := served(t, s)
	require.NoError(t, own.VerifyHostname("10.0.0.1"))
	require.NoError(t, own.VerifyHostname("v"))
	assert.Equal(t, own.Issuer.String(), own.Subject.String())
	select {
	case <-s.Signed():
		require.Fail(t, "nobody has signed")
	default:
	}

	start(t, s)
	newSigner(t).sign(t, client)
	waitSigned(t, s)
	assert.Equal(t, "cluster", served(t, s).Issuer.CommonName)

	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	again := newServing(t, fake.NewClientset(), dir, "10.0.0.1")
	assert.Equal(t, "cluster", served(t, again).Issuer.CommonName, "it is kept")
}

func TestServingAsksAgainForAnotherAddress(t *testing.T) {
	client, dir := fake.NewClientset(), t.TempDir()
	first := newServing(t, client, dir, "10.0.0.1")
	start(t, first)
	newSigner(t).sign(t, client)
	waitSigned(t, first)

	client = fake.NewClientset()
	moved := newServing(t, client, dir, "10.0.0.2")
	start(t, moved)
	newSigner(t).sign(t, client)
	waitSigned(t, moved)
	require.NoError(t, served(t, moved).VerifyHostname("10.0.0.2"))
}

func TestServingForgetsWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kubelet-server-current.pem"), []byte("half"), 0o600))
	assert.Equal(t, "system:node:v", served(t, newServing(t, fake.NewClientset(), dir, "10.0.0.1")).Subject.CommonName)
}

func TestServingNeedsAnAddressAndADirectory(t *testing.T) {
	_, err := certs.NewServing(certs.Config{NodeName: "v", Dir: t.TempDir()})
	require.EqualError(t, err, "serving certificate: no IP address")

	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = certs.NewServing(certs.Config{NodeName: "v", IPs: []net.IP{{10, 0, 0, 1}}, Dir: filepath.Join(file, "certs")})
	require.ErrorContains(t, err, "make directory of serving certificate")
}

func TestServingWithoutAClientAsksForNothing(t *testing.T) {
	s, err := certs.NewServing(certs.Config{NodeName: "v", IPs: []net.IP{net.ParseIP("10.0.0.1")}, Dir: t.TempDir()})
	require.NoError(t, err)
	start(t, s)
	assert.Equal(t, "system:node:v", served(t, s).Issuer.CommonName, "it is signed by itself")
}
