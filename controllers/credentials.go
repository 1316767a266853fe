package controllers

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Keys of a credentials secret.
const (
	keyUsername = "username"
	keyPassword = "password"
	keyCA       = "ca.crt"
)

// Credentials are those of a VCH's vCenter.
type Credentials struct {
	Username string
	// CA are certificates in PEM; empty trusts the system's.
	CA []byte
	// Password reads the password as it is now.
	Password func(ctx context.Context) (string, error)
}

// CredentialSecrets reads credentials that vsphere.credentialsSecret of a VCH names.
type CredentialSecrets struct {
	Reader client.Reader
	// Namespace has the secrets.
	Namespace string
}

// Read reads the credentials of that secret. An error names the field.
func (c CredentialSecrets) Read(ctx context.Context, name string) (Credentials, error) {
	secret, err := c.secret(ctx, name)
	if err != nil {
		return Credentials{}, err
	}
	for _, key := range []string{keyUsername, keyPassword} {
		if trimmed(secret, key) == "" {
			return Credentials{}, fmt.Errorf("vsphere.credentialsSecret: Secret %s/%s has no %s", c.Namespace, name, key)
		}
	}
	return Credentials{
		Username: trimmed(secret, keyUsername), CA: secret.Data[keyCA],
		Password: func(ctx context.Context) (string, error) {
			secret, err := c.secret(ctx, name)
			if err != nil {
				return "", err
			}
			return trimmed(secret, keyPassword), nil
		},
	}, nil
}

// trimmed is a value without the end of a line that it had in a file.
func trimmed(secret *corev1.Secret, key string) string {
	return strings.TrimRight(string(secret.Data[key]), "\r\n")
}

func (c CredentialSecrets) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	var secret corev1.Secret
	if err := c.Reader.Get(ctx, client.ObjectKey{Namespace: c.Namespace, Name: name}, &secret); err != nil {
		return nil, fmt.Errorf("vsphere.credentialsSecret: Secret %s/%s: %w", c.Namespace, name, err)
	}
	return &secret, nil
}
