//go:build qemu

package guest_test

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var applets = []string{
	"cat", "chmod", "cut", "date", "dd", "echo", "env", "false", "grep", "head", "hostname", "httpd", "id", "ip", "kill", "ls", "mkdir", "mount",
	"nc", "printf", "ps", "pwd", "rm", "seq", "sh", "sleep", "stat", "stty", "tail", "test", "touch", "tr", "true", "tty", "wc", "yes",
}

// imageDisk makes an ext4 image with busybox.
func imageDisk(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	for _, dir := range []string{"bin", "etc", "tmp", "home/app"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, dir), 0o755))
	}
	busybox, err := os.ReadFile("/bin/busybox")
	require.NoError(t, err, "apt-get install busybox-static")
	require.NoError(t, os.WriteFile(filepath.Join(root, "bin/busybox"), busybox, 0o755))
	for _, a := range applets {
		require.NoError(t, os.Symlink("busybox", filepath.Join(root, "bin", a)))
	}
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/passwd"),
		[]byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(root, "etc/group"), []byte("root:x:0:\napp:x:1000:\nextra:x:2000:app\n"), 0o644))
	disk := filepath.Join(t.TempDir(), "image.img")
	out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", root, disk, "16M").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return disk
}

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }
