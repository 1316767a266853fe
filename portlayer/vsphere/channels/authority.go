package channels

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/durable"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	// backdated is how far clocks may be apart.
	backdated = 24 * time.Hour
)

// Authority signs the certificates of a host and of its guests, and no others.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// LoadAuthority reads the authority of that file, certificate and key in PEM, or makes it. Guests that run trust it, so it
// is kept for as long as there are any.
func LoadAuthority(path string) (*Authority, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if b, err = MakeAuthority(); err == nil {
			b, err = keep(path, b)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("authority of guests: %w", err)
	}
	a, err := ParseAuthority(b)
	if err != nil {
		return nil, fmt.Errorf("authority of guests in %s: %w", path, err)
	}
	return a, nil
}

// keep writes the file whole, unless another process was first: then its content counts.
func keep(path string, b []byte) ([]byte, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := durable.Create(path, b, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

// MakeAuthority returns a new authority, certificate and key in PEM.
func MakeAuthority() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "vic pod VMs"},
		NotBefore: now.Add(-backdated), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	b := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	return append(b, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...), nil
}

// ParseAuthority reads what MakeAuthority has made.
func ParseAuthority(b []byte) (*Authority, error) {
	pair, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, errors.New("it is not an authority with an ECDSA key")
	}
	return &Authority{cert: pair.Leaf, key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Leaf.Raw})}, nil
}

// PEM are the certificates that guests trust.
func (a *Authority) PEM() string { return string(a.pem) }

func (a *Authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// sign signs a certificate that is valid for as long as the authority.
func (a *Authority) sign(public any, name pkix.Name, usage x509.ExtKeyUsage, hosts ...string) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: serial, Subject: name, NotBefore: a.cert.NotBefore, NotAfter: a.cert.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage}, DNSNames: hosts,
	}, a.cert, public, a.key)
}

// server is a host's certificate with a key that is never kept.
func (a *Authority) server() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	cert, err := a.sign(&key.PublicKey, pkix.Name{CommonName: wire.HostName}, x509.ExtKeyUsageServerAuth, wire.HostName)
	return tls.Certificate{Certificate: [][]byte{cert}, PrivateKey: key}, err
}

// guest signs the certificate of one boot of a VM.
func (a *Authority) guest(public any, vm, boot string) ([]byte, error) {
	cert, err := a.sign(public, pkix.Name{CommonName: vm, SerialNumber: boot}, x509.ExtKeyUsageClientAuth)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), nil
}
