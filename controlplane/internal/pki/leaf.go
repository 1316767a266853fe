package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"slices"
)

// leaf is what a certificate should say.
type leaf struct {
	name   string // of the files
	user   string // common name: the user's name to Kubernetes
	groups []string
	dns    []string
	ips    []net.IP
	usage  x509.ExtKeyUsage
}

// leaf issues l by a, unless the one that is there still says the same and lasts. It returns the paths of both files.
func (s *store) leaf(a *authority, l leaf) (Pair, error) {
	pair := Pair{CertFile: s.certPath(l.name), KeyFile: s.keyPath(l.name)}
	if s.stands(a, l) {
		return pair, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("make key of %s: %w", l.name, err)
	}
	template, err := s.template(pkix.Name{CommonName: l.user, Organization: l.groups}, leafLife)
	if err != nil {
		return Pair{}, err
	}
	template.DNSNames, template.IPAddresses = l.dns, l.ips
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{l.usage}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return Pair{}, fmt.Errorf("sign certificate %s: %w", l.name, err)
	}
	return pair, s.savePair(l.name, der, key)
}

// stands reports whether the stored certificate of l can be used as it is.
func (s *store) stands(a *authority, l leaf) bool {
	c, _, err := s.loadPair(l.name)
	return err == nil &&
		s.lasts(c) &&
		c.CheckSignatureFrom(a.cert) == nil &&
		c.Subject.CommonName == l.user &&
		slices.Equal(c.Subject.Organization, l.groups) &&
		slices.Equal(c.DNSNames, l.dns) &&
		slices.EqualFunc(c.IPAddresses, l.ips, net.IP.Equal) &&
		slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{l.usage})
}
