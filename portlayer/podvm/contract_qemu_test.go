//go:build qemu

package podvm_test

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/podvm/podvmtest"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

// shellImage is a disk with a static busybox.
func shellImage(t *testing.T) portlayer.DiskSource {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	require.NoError(t, os.MkdirAll(filepath.Join(root, "bin"), 0o755))
	busybox, err := os.ReadFile("/bin/busybox")
	require.NoError(t, err, "apt-get install busybox-static")
	require.NoError(t, os.WriteFile(filepath.Join(root, "bin/busybox"), busybox, 0o755))
	for _, name := range []string{"sh", "echo", "sleep", "cat", "true"} {
		require.NoError(t, os.Symlink("busybox", filepath.Join(root, "bin", name)))
	}
	disk := filepath.Join(t.TempDir(), "image.img")
	out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-d", root, disk, "16M").CombinedOutput()
	require.NoError(t, err, "%s", out)
	content, err := os.ReadFile(disk)
	require.NoError(t, err)
	sum := sha256.Sum256(content)
	return portlayer.DiskSource{
		Digest:    "sha256:" + hex.EncodeToString(sum[:]),
		SizeBytes: int64(len(content)),
		Open:      func() (io.ReadSeekCloser, error) { return os.Open(disk) },
	}
}

// guestImage is what make guest-image built, unless the environment names another.
func guestImage(t *testing.T) qemu.GuestImage {
	t.Helper()
	dir := os.Getenv("VIC_GUEST_IMAGE")
	if dir == "" {
		dir = "../../bin/guest"
	}
	image := qemu.GuestImage{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd.zst")}
	require.FileExists(t, image.Initrd, "make guest-image builds it")
	return image
}

// qemuHost is a host over a VCH on this machine, and the process that has both open.
type qemuHost struct {
	t      *testing.T
	config qemu.Config
	runDir string
	close  func()
	host   *podvm.Host
}

func (h *qemuHost) open() podvm.PodHost {
	hv, err := qemu.Open(h.t.Context(), h.config)
	require.NoError(h.t, err)
	scope := qemu.UserScope()
	layer, err := portlayer.Open(h.t.Context(), portlayer.Config{Hypervisor: hv, Scopes: []portlayer.ScopeConfig{scope}})
	require.NoError(h.t, err)
	e, err := podvm.Open(h.t.Context(), podvm.Config{
		Layer: layer, RunDir: h.runDir, NodeName: "node",
		Capabilities: podvm.Capabilities{Hypervisor: "qemu", HotAddDisk: true},
	})
	require.NoError(h.t, err)
	h.host = e
	h.close = sync.OnceFunc(func() { e.Close(); layer.Close(); hv.Close() })
	h.t.Cleanup(h.close)
	return e
}

func TestPodHostContractOnQEMU(t *testing.T) {
	t.Parallel()
	podvmtest.Run(t, func(t *testing.T) podvmtest.Harness {
		h := &qemuHost{t: t, runDir: t.TempDir(), config: qemu.Config{
			Dir: filepath.Join(t.TempDir(), "vch"), GuestImage: guestImage(t), Accel: qemu.AccelTCG,
		}}
		return podvmtest.Harness{
			Host:   h.open(),
			Reopen: func() podvm.PodHost { h.close(); return h.open() },
			Kill: func(uid string) {
				vm, err := h.host.Get(t.Context(), uid)
				require.NoError(t, err)
				require.NotZero(t, vm.PID)
				require.NoError(t, unix.Kill(vm.PID, unix.SIGKILL))
			},
			Image:   shellImage(t),
			Scope:   qemu.UserScope().Name,
			Timeout: 3 * time.Minute,
		}
	})
}
