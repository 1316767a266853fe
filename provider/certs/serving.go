package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/util/certificate"
	"k8s.io/klog/v2"
)

const (
	// pairName begins the names of the files, as the kubelet's do.
	pairName = "kubelet-server"
	// checkInterval is how often Serving looks whether the first certificate is there.
	checkInterval = 100 * time.Millisecond
)

// Config is what a Serving needs.
type Config struct {
	// Client makes the requests; nil makes none.
	Client   kubernetes.Interface
	NodeName string
	// IPs and DNSNames are what the certificate is for; at least one IP.
	IPs      []net.IP
	DNSNames []string
	// Dir keeps certificate and key. It is made, and closed to others.
	Dir string
}

// Serving is the node's serving certificate. It is safe for concurrent use.
type Serving struct {
	cfg     Config
	manager certificate.Manager // nil without a client
	own     *tls.Certificate    // signed by itself

	once   sync.Once // guards the closing of signed
	signed chan struct{}
}

// NewServing returns a Serving that has what was kept in cfg.Dir, and requests nothing before Run.
func NewServing(cfg Config) (*Serving, error) {
	if len(cfg.IPs) == 0 {
		return nil, errors.New("serving certificate: no IP address")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of serving certificate: %w", err)
	}
	if err := os.Chmod(cfg.Dir, 0o700); err != nil { //nolint:gosec // a directory needs x
		return nil, fmt.Errorf("close directory of serving certificate: %w", err)
	}
	own, err := selfSigned(cfg)
	if err != nil {
		return nil, err
	}
	s := &Serving{cfg: cfg, own: own, signed: make(chan struct{})}
	if cfg.Client == nil {
		return s, nil
	}
	if s.manager, err = newManager(cfg); err != nil {
		// The kept one can't be read, and a new one costs a request: an interrupted write must not keep a node away.
		if s.manager, err = anew(cfg); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func newManager(cfg Config) (certificate.Manager, error) {
	store, err := certificate.NewFileStoreWithLogger(klog.Background(), pairName, cfg.Dir, cfg.Dir, "", "")
	if err != nil {
		return nil, fmt.Errorf("open store of serving certificate: %w", err)
	}
	manager, err := certificate.NewManager(&certificate.Config{
		ClientsetFn:      func(*tls.Certificate) (kubernetes.Interface, error) { return cfg.Client, nil },
		GetTemplate:      func() *x509.CertificateRequest { return template(cfg) },
		SignerName:       certificatesv1.KubeletServingSignerName,
		GetUsages:        certificate.DefaultKubeletServingGetUsages,
		CertificateStore: store,
		Name:             pairName,
	})
	if err != nil {
		return nil, fmt.Errorf("manage serving certificate: %w", err)
	}
	return manager, nil
}

// anew forgets what is kept.
func anew(cfg Config) (certificate.Manager, error) {
	files, err := filepath.Glob(filepath.Join(cfg.Dir, pairName+"-*.pem"))
	if err != nil {
		return nil, fmt.Errorf("list serving certificates: %w", err)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			return nil, fmt.Errorf("remove unreadable serving certificate: %w", err)
		}
	}
	return newManager(cfg)
}

// Run requests and renews the certificate until ctx ends. A Serving runs once.
func (s *Serving) Run(ctx context.Context) {
	if s.manager == nil {
		<-ctx.Done()
		return
	}
	s.manager.Start()
	defer s.manager.Stop()
	ticker := time.NewTicker(checkInterval)
	defer ticker.Stop()
	for !s.fits(s.manager.Current()) {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
	s.once.Do(func() { close(s.signed) })
	<-ctx.Done()
}

// fits reports whether c is for all that the node is reached by: a kept one may be for a former address.
func (s *Serving) fits(c *tls.Certificate) bool {
	if c == nil || c.Leaf == nil {
		return false
	}
	for _, name := range slices.Concat(texts(s.cfg.IPs), s.cfg.DNSNames) {
		if c.Leaf.VerifyHostname(name) != nil {
			return false
		}
	}
	return true
}

// Signed is closed once a certificate that the cluster signed is there.
func (s *Serving) Signed() <-chan struct{} { return s.signed }

// GetCertificate is for tls.Config.
func (s *Serving) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.manager != nil {
		if c := s.manager.Current(); c != nil {
			return c, nil
		}
	}
	return s.own, nil
}

// subject is whom a serving certificate of a node is for: the signer demands it.
func subject(nodeName string) pkix.Name {
	return pkix.Name{CommonName: nodeUser(nodeName), Organization: []string{nodeGroup}}
}

func nodeUser(nodeName string) string { return "system:node:" + nodeName }

const nodeGroup = "system:nodes"

func template(cfg Config) *x509.CertificateRequest {
	return &x509.CertificateRequest{Subject: subject(cfg.NodeName), DNSNames: cfg.DNSNames, IPAddresses: cfg.IPs}
}
