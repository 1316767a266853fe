//go:build qemu

package qemu_test

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

const nobody = 65534

// publicDir is one that every user may reach, unlike those of testing.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "vic-user") //nolint:usetesting // t.TempDir is below a directory of mode 0700
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

func copyTo(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, b, mode))
}

// A user without privileges gets everything but a network of pods and users of their own for VMs.
func TestAVCHOfAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	dir := publicDir(t)
	h := newHost(t, func(c *qemu.Config) {
		copyTo(t, c.GuestImage.Kernel, filepath.Join(dir, "kernel"), 0o644)
		copyTo(t, c.GuestImage.Initrd, filepath.Join(dir, "initrd"), 0o644)
		c.GuestImage = qemu.GuestImage{Kernel: filepath.Join(dir, "kernel"), Initrd: filepath.Join(dir, "initrd")}
		c.Dir = filepath.Join(dir, "vch")
	})
	h.Close()
	require.NoError(t, os.RemoveAll(h.config.Dir))
	require.NoError(t, os.Mkdir(h.config.Dir, 0o700))
	require.NoError(t, os.Chown(h.config.Dir, nobody, nobody))
	program := filepath.Join(dir, "program")
	copyTo(t, os.Args[0], program, 0o755)

	config, err := json.Marshal(h.config)
	require.NoError(t, err)
	user := exec.Command(program)
	user.Env = append(os.Environ(), asProcess+"="+string(config))
	user.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	_, err = user.StdinPipe()
	require.NoError(t, err)
	out, err := user.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, user.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "holding\n", line)

	status := procFile(t, h.get().PID, "status")
	assert.Equal(t, "65534 65534 65534 65534", statusLine(status, "Uid:"))
	assert.Equal(t, "2", statusLine(status, "Seccomp:"))
	assert.Equal(t, "1", statusLine(status, "NoNewPrivs:"))
	assert.Equal(t, "500\n", procFile(t, h.get().PID, "oom_score_adj"))
	require.NoError(t, user.Process.Kill())
	require.Error(t, user.Wait())
	require.Equal(t, "scratch", h.talk().say("disks 1"))
}

func TestAPrivateNetworkInUserMode(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	scope := qemu.UserScope()
	s := spec()
	s.NICs = []portlayer.NIC{{
		Scope: scope.Name, MAC: "02:00:00:00:00:07", Gateways: []netip.Addr{scope.Gateway},
		Addresses: []netip.Prefix{netip.PrefixFrom(scope.Gateway.Next().Next(), scope.Subnet.Bits())},
	}}
	h.start(s)
	got := h.talk().say("ask 10.0.2.4/24 10.0.2.2 10.0.2.2:1")
	assert.Contains(t, got, "refused", "the gateway answers, and has nothing at that port")
}
