package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/util/cert"
	"k8s.io/client-go/util/keyutil"

	"github.com/virtual-kubelet/vic/controlplane/internal/atomicfile"
)

// errForeignKey means that a certificate and the key beside it do not belong together.
var errForeignKey = errors.New("key does not belong to it")

// store is a directory of certificates and keys, looked at from one moment.
type store struct {
	dir string
	now time.Time
}

// savePair writes the key first: a certificate without its key is seen as missing, and so is a key alone.
func (s *store) savePair(name string, der []byte, key *ecdsa.PrivateKey) error {
	if err := s.saveKey(name, key); err != nil {
		return err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: der})
	return atomicfile.Write(s.certPath(name), data, 0o644)
}

func (s *store) saveKey(name string, key *ecdsa.PrivateKey) error {
	data, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		return fmt.Errorf("encode key %s: %w", name, err)
	}
	return atomicfile.Write(s.keyPath(name), data, 0o600)
}

// loadKey also puts the mode of the file right.
func (s *store) loadKey(name string) (crypto.Signer, error) {
	data, err := os.ReadFile(s.keyPath(name))
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	parsed, err := keyutil.ParsePrivateKeyPEM(data)
	if err != nil {
		return nil, fmt.Errorf("parse key %s: %w", s.keyPath(name), err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("parse key %s: not an ECDSA key", s.keyPath(name))
	}
	return key, os.Chmod(s.keyPath(name), 0o600)
}

// signingKey returns the files of a key pair without a certificate, which is made once and never replaced: tokens that
// it signed are in the hands of pods.
func (s *store) signingKey(name string) (Signing, error) {
	files := Signing{PublicFile: filepath.Join(s.dir, name+".pub"), PrivateFile: s.keyPath(name)}
	key, err := s.loadKey(name)
	if errors.Is(err, os.ErrNotExist) {
		key, err = s.newSigningKey(name)
	}
	if err != nil {
		return Signing{}, err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return Signing{}, fmt.Errorf("encode public key %s: %w", name, err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: keyutil.PublicKeyBlockType, Bytes: der})
	return files, atomicfile.Write(files.PublicFile, public, 0o644)
}

func (s *store) newSigningKey(name string) (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key %s: %w", name, err)
	}
	return key, s.saveKey(name, key)
}
