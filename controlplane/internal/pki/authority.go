package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"path/filepath"
	"time"

	"k8s.io/client-go/util/cert"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour

	// RenewBefore is how long before its end a certificate is replaced at the next start.
	RenewBefore = 30 * 24 * time.Hour

	// clockSkew moves the beginning of each certificate into the past, for guests whose clock is a little slow.
	clockSkew = 5 * time.Minute
)

// authority is a certificate authority with its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

// authority returns the authority called name, and makes it anew when it is missing or near its end.
func (s *store) authority(name, commonName string) (*authority, error) {
	if a := s.loadAuthority(name); a != nil {
		return a, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key of authority %s: %w", name, err)
	}
	template, err := s.template(pkix.Name{CommonName: commonName}, authorityLife)
	if err != nil {
		return nil, err
	}
	template.IsCA = true
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign authority %s: %w", name, err)
	}
	if err := s.savePair(name, der, key); err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parse authority %s: %w", name, err)
	}
	return &authority{cert: parsed, key: key}, nil
}

// loadAuthority returns nil when there is no authority that can still be used.
func (s *store) loadAuthority(name string) *authority {
	c, key, err := s.loadPair(name)
	if err != nil || !c.IsCA || !s.lasts(c) || c.CheckSignatureFrom(c) != nil {
		return nil
	}
	return &authority{cert: c, key: key}
}

// template is what authorities and leaves have in common.
func (s *store) template(subject pkix.Name, life time.Duration) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return &x509.Certificate{
		SerialNumber:          serial.Add(serial, big.NewInt(1)),
		Subject:               subject,
		NotBefore:             s.now.Add(-clockSkew).UTC(),
		NotAfter:              s.now.Add(life).UTC(),
		BasicConstraintsValid: true,
	}, nil
}

// lasts reports whether c is valid now and will be for RenewBefore at least.
func (s *store) lasts(c *x509.Certificate) bool {
	return !s.now.Before(c.NotBefore) && s.now.Add(RenewBefore).Before(c.NotAfter)
}

func (s *store) certPath(name string) string { return filepath.Join(s.dir, name+".crt") }
func (s *store) keyPath(name string) string  { return filepath.Join(s.dir, name+".key") }

// loadPair reads a certificate and the key that belongs to it.
func (s *store) loadPair(name string) (*x509.Certificate, crypto.Signer, error) {
	certs, err := cert.CertsFromFile(s.certPath(name))
	if err != nil {
		return nil, nil, fmt.Errorf("read certificate %s: %w", name, err)
	}
	key, err := s.loadKey(name)
	if err != nil {
		return nil, nil, err
	}
	public, ok := certs[0].PublicKey.(*ecdsa.PublicKey)
	if !ok || !public.Equal(key.Public()) {
		return nil, nil, fmt.Errorf("certificate %s: %w", name, errForeignKey)
	}
	return certs[0], key, nil
}
