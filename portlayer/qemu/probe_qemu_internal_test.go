//go:build qemu

package qemu

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTryBootBelievesOnlyAGuestThatAnswers(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("VIC_GUEST_IMAGE")
	if dir == "" {
		dir = "../../bin/guest"
	}
	boot := bootFiles{kernel: filepath.Join(dir, "vmlinuz"), initrd: filepath.Join(dir, "initrd.zst")}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, tryBoot(ctx, defaultBinary, AccelTCG, boot))

	boot.initrd = filepath.Join(t.TempDir(), "initrd")
	require.NoError(t, os.WriteFile(boot.initrd, []byte("none"), 0o600))
	require.ErrorContains(t, tryBoot(ctx, defaultBinary, AccelTCG, boot), "ended without an answer")

	boot.kernel = "/nowhere"
	require.ErrorContains(t, tryBoot(ctx, defaultBinary, AccelTCG, boot), "/nowhere")
}
