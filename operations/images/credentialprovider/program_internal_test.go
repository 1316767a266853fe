package credentialprovider

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	kubeletconfigv1 "k8s.io/kubelet/config/v1"
)

func TestAProgramThatDoesNotEndIsEnded(t *testing.T) {
	program := filepath.Join(t.TempDir(), "one")
	require.NoError(t, os.WriteFile(program, []byte("#!/bin/sh\nexec sleep 600\n"), 0o700))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := run(ctx, program, &kubeletconfigv1.CredentialProvider{}, "reg.example/app")
	require.EqualError(t, err, "it did not end within 1m0s")
}
