//go:build qemu

package qemu_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
)

func source(b []byte, open func() (io.ReadSeekCloser, error)) portlayer.DiskSource {
	sum := sha256.Sum256(b)
	if open == nil {
		open = func() (io.ReadSeekCloser, error) {
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader(b), io.NopCloser(nil)}, nil
		}
	}
	return portlayer.DiskSource{Digest: "sha256:" + hex.EncodeToString(sum[:]), SizeBytes: int64(len(b)), Open: open}
}

// tinyDisk mounts a file system with little room where a VCH may go.
func tinyDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, 0)) })
	return filepath.Join(dir, "vch")
}

func TestAFullDiskLeavesNothingHalfMade(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(c *qemu.Config) { c.Dir = tinyDisk(t, "40m") })
	large := source(bytes.Repeat([]byte("x"), 64*mib), nil)
	_, err := h.EnsureDisk(h.ctx, large)
	require.ErrorIs(t, err, portlayer.ErrOutOfSpace)
	left, err := os.ReadDir(filepath.Join(h.config.Dir, "disks"))
	require.NoError(t, err)
	assert.Empty(t, left)

	fill(t, h.config.Dir)
	_, err = h.Create(h.ctx, spec(scratch("scratch")))
	require.ErrorIs(t, err, portlayer.ErrOutOfSpace)
	vms, err := os.ReadDir(filepath.Join(h.config.Dir, "vms"))
	require.NoError(t, err)
	assert.Empty(t, vms)

	require.NoError(t, os.Remove(filepath.Join(h.config.Dir, "fill")))
	small := source(bytes.Repeat([]byte("y"), mib), nil)
	_, err = h.EnsureDisk(h.ctx, small)
	require.NoError(t, err, "once there is room it works")
}

func fill(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "fill"))
	require.NoError(t, err)
	defer f.Close()
	for size := mib; size > 0; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			require.ErrorIs(t, err, unix.ENOSPC)
			size /= 2
		}
	}
}

func TestAVMWaitsWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(c *qemu.Config) { c.Dir = tinyDisk(t, "120m") })
	h.start(spec(scratch("scratch")))
	guest := h.talk()
	reserve := filepath.Join(h.config.Dir, "reserve")
	require.NoError(t, os.WriteFile(reserve, make([]byte, 70*mib), 0o600))
	guest.order("write scratch 48")
	select {
	case line := <-guest.lines:
		require.Fail(t, "there was room", line)
	case <-time.After(4 * time.Second):
	}
	assert.Equal(t, portlayer.StateRunning, h.get().State)
	require.NoError(t, os.Remove(reserve))
	assert.Equal(t, "written", <-guest.lines, "no error reached the guest")
}

func TestAnImageOnTheSameFileSystemIsLinked(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	path := filepath.Join(filepath.Dir(h.config.Dir), "image")
	content := bytes.Repeat([]byte("z"), mib)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	ref, err := h.EnsureDisk(h.ctx, source(content, func() (io.ReadSeekCloser, error) { return os.Open(path) }))
	require.NoError(t, err)
	linked, err := os.Stat(filepath.Join(h.config.Dir, "disks", string(ref)))
	require.NoError(t, err)
	original, err := os.Stat(path)
	require.NoError(t, err)
	assert.True(t, os.SameFile(linked, original))
}

func TestACopiedImageIsSparse(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	content := make([]byte, 16*mib)
	copy(content[8*mib:], "in the middle")
	ref, err := h.EnsureDisk(h.ctx, source(content, nil))
	require.NoError(t, err)
	path := filepath.Join(h.config.Dir, "disks", string(ref))
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(content, got))
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	assert.Less(t, st.Blocks*512, int64(mib))
}

func TestASourceOfAnotherSizeIsRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	src := source([]byte("12345678"), nil)
	src.SizeBytes = 9
	_, err := h.EnsureDisk(h.ctx, src)
	require.ErrorContains(t, err, "it has 8 bytes, not 9")
	src.Digest = "sha256:../../etc/passwd"
	_, err = h.EnsureDisk(h.ctx, src)
	require.ErrorContains(t, err, "64 hex digits")
}

func TestOpenSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	image := guestImage(t)
	tests := map[string]struct {
		change func(*qemu.Config)
		want   string
	}{
		"no QEMU":            {func(c *qemu.Config) { c.Binary = "qemu-system-none" }, "Debian package qemu-system-x86"},
		"no kernel":          {func(c *qemu.Config) { c.GuestImage.Kernel = "/nowhere/vmlinuz" }, "kernel: stat /nowhere/vmlinuz"},
		"no initrd":          {func(c *qemu.Config) { c.GuestImage.Initrd = "" }, "initrd: no file named"},
		"an empty kernel":    {func(c *qemu.Config) { c.GuestImage.Kernel = "/dev/null" }, "/dev/null is not a file with content"},
		"no directory":       {func(c *qemu.Config) { c.Dir = "" }, "no directory"},
		"a file as the VCH":  {func(c *qemu.Config) { c.Dir = image.Kernel }, "not a directory"},
		"a QEMU that is not": {func(c *qemu.Config) { c.Binary = "/bin/false" }, "run /bin/false --version"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := qemu.Config{Dir: t.TempDir(), GuestImage: image, Accel: qemu.AccelTCG}
			tt.change(&c)
			_, err := qemu.Open(t.Context(), c)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestAStartThatFailsSaysWhatQEMUSaid(t *testing.T) {
	t.Parallel()
	h := newHost(t, func(c *qemu.Config) {
		c.Binary = filepath.Join(t.TempDir(), "qemu")
		script := "#!/bin/sh\n[ \"$1\" = --version ] && exec qemu-system-x86_64 --version\n" +
			"exec qemu-system-x86_64 \"$@\" -device no-such-device\n"
		require.NoError(t, os.WriteFile(c.Binary, []byte(script), 0o755))
	})
	require.NoError(t, os.Chmod(filepath.Dir(h.config.Binary), 0o755))
	require.NoError(t, os.Chmod(filepath.Dir(filepath.Dir(h.config.Binary)), 0o755))
	_, err := h.Create(h.ctx, spec(scratch("scratch")))
	require.NoError(t, err)
	err = h.PowerOn(h.ctx, uid)
	var power *portlayer.PowerError
	require.ErrorAs(t, err, &power)
	assert.Equal(t, 1, strings.Count(err.Error(), uid), "one layer names the VM: %v", err)
	assert.Contains(t, power.Reason, "'no-such-device' is not a valid device model name")
	assert.Equal(t, portlayer.StateCreated, h.get().State)
}

func TestAStartThatIsCalledOffLeavesNoProcess(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	_, err := h.Create(h.ctx, spec(scratch("scratch")))
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(h.ctx, 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.PowerOn(ctx, uid), context.DeadlineExceeded)
	vms, _, err := qemu.List(h.config.Dir)
	require.NoError(t, err)
	assert.Equal(t, portlayer.StateCreated, vms[0].State, "a process would hold the lock")
	require.NoError(t, h.PowerOn(h.ctx, uid))
}

func TestAVMThatDoesNotFitIsRefused(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	s := spec()
	s.Size.MemoryBytes = 1 << 50
	_, err := h.Create(h.ctx, s)
	require.NoError(t, err)
	err = h.PowerOn(h.ctx, uid)
	require.ErrorIs(t, err, portlayer.ErrOutOfMemory)
	assert.Regexp(t, `needs \d+ MiB of memory and the machine has \d+ MiB left`, err)
}

func TestAVMWhoseRecordIsDamagedGoesOnUntilItIsDestroyed(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vch")
	n, err := network.Open(t.Context(), network.Config{Dir: dir})
	require.NoError(t, err)
	h := newHost(t, func(c *qemu.Config) { c.Dir, c.Network = dir, n })
	t.Cleanup(func() { require.NoError(t, network.Purge(context.WithoutCancel(t.Context()), dir)) })
	s := spec()
	s.NICs = []portlayer.NIC{nic(n)}
	running := h.start(s)
	h.Close()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vms", uid, "vm.json"), []byte("{half"), 0o600))

	h.open()
	vms, err := h.List(h.ctx)
	require.NoError(t, err)
	assert.Empty(t, vms)
	assert.Equal(t, 1, taps(t, n), "it keeps its network")
	assert.Equal(t, []netip.Addr{s.NICs[0].Addresses[0].Addr()}, n.Scope().Reserved)
	_, damaged, err := qemu.List(dir)
	require.NoError(t, err)
	require.Len(t, damaged, 1)
	assert.True(t, damaged[0].Running)
	_, err = h.Create(h.ctx, s)
	require.ErrorIs(t, err, portlayer.ErrExists, "a second one would run beside it")
	said := h.condition("PodVMsUnreadable")
	assert.True(t, said.True)
	assert.Contains(t, said.Message, uid)
	assert.DirExists(t, fmt.Sprintf("/proc/%d", running.PID))

	require.NoError(t, h.Destroy(h.ctx, uid))
	require.Eventually(t, func() bool {
		_, err := os.Stat(fmt.Sprintf("/proc/%d", running.PID))
		return os.IsNotExist(err)
	}, patience, 10*time.Millisecond)
	h.start(s)
}

// nic is an interface of a VM on a network.
func nic(n *network.Network) portlayer.NIC {
	return portlayer.NIC{
		Scope: n.Scope().Name, MAC: "02:00:00:00:00:07", Gateways: []netip.Addr{n.Gateway()}, MTU: n.Scope().MTU,
		Addresses: []netip.Prefix{netip.PrefixFrom(n.Gateway().Next().Next(), n.Subnet().Bits())},
	}
}

func TestARecordOfAnotherFormatIsRefusedAndKept(t *testing.T) {
	h := newHost(t)
	_, err := h.Create(h.ctx, spec())
	require.NoError(t, err)
	path := filepath.Join(h.config.Dir, "vms", uid, "vm.json")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, format := range []string{`"format": 2`, `"was": 1`} {
		other := bytes.Replace(whole, []byte(`"format": 1`), []byte(format), 1)
		require.NotEqual(t, whole, other)
		require.NoError(t, os.WriteFile(path, other, 0o600))
		h.reopen()
		_, err = h.List(h.ctx)
		var refused *portlayer.FormatError
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, path, refused.Place)
		require.ErrorContains(t, err, "this program reads format 1")
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.Equal(t, string(other), string(kept))
	}
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	h.reopen()
}

func TestOpenSweepsWhatACrashLeft(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	left := []string{"vms/.new-123/scratch-a.img", "vms/.trash-456/vm.json", "disks/.tmp-789", "boot/.tmp-1"}
	for _, name := range left {
		path := filepath.Join(h.config.Dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte("half"), 0o600))
	}
	h.reopen()
	for _, name := range []string{"vms/.new-123", "vms/.trash-456", "disks/.tmp-789", "boot/.tmp-1"} {
		_, err := os.Lstat(filepath.Join(h.config.Dir, name))
		assert.ErrorIs(t, err, os.ErrNotExist, name)
	}
}

func TestTheAcceleratorIsFoundByBooting(t *testing.T) {
	t.Parallel()
	c := qemu.Config{Dir: filepath.Join(t.TempDir(), "vch"), GuestImage: guestImage(t)}
	first, err := qemu.ProbeAccel(t.Context(), c)
	require.NoError(t, err)
	assert.Contains(t, []qemu.Accel{qemu.AccelKVM, qemu.AccelTCG}, first)
	found, err := os.Stat(filepath.Join(c.Dir, "accel.json"))
	require.NoError(t, err)
	second, err := qemu.ProbeAccel(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	again, err := os.Stat(filepath.Join(c.Dir, "accel.json"))
	require.NoError(t, err)
	assert.True(t, os.SameFile(found, again), "it is remembered: what is found is written as a new file")
	c.Accel = qemu.AccelKVM
	forced, err := qemu.ProbeAccel(t.Context(), c)
	require.NoError(t, err)
	assert.Equal(t, qemu.AccelKVM, forced, "what the user says counts")
}

func TestListNeedsNoServer(t *testing.T) {
	t.Parallel()
	none, _, err := qemu.List(filepath.Join(t.TempDir(), "none"))
	require.NoError(t, err)
	assert.Empty(t, none)
	h := newHost(t)
	vm := h.start(spec(scratch("scratch")))
	listed, _, err := qemu.List(h.config.Dir)
	require.NoError(t, err)
	assert.Equal(t, []portlayer.VM{vm}, listed)
	h.Close()
	listed, _, err = qemu.List(h.config.Dir)
	require.NoError(t, err)
	assert.Equal(t, []portlayer.VM{vm}, listed)
	h.open()
}

func TestVMsOnANetwork(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vch")
	n, err := network.Open(t.Context(), network.Config{Dir: dir})
	require.NoError(t, err)
	h := newHost(t, func(c *qemu.Config) { c.Dir, c.Network = dir, n })
	t.Cleanup(func() { require.NoError(t, network.Purge(context.WithoutCancel(t.Context()), dir)) })
	l, err := net.Listen("tcp4", netip.AddrPortFrom(n.Gateway(), 0).String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() { // ends with the listener
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintln(conn, conn.RemoteAddr().(*net.TCPAddr).IP)
			_ = conn.Close()
		}
	}()
	addr := n.Gateway().Next().Next()
	s := spec()
	s.NICs = []portlayer.NIC{nic(n)}
	h.start(s)
	ask := fmt.Sprintf("ask %s %s %s", s.NICs[0].Addresses[0], n.Gateway(), l.Addr())
	assert.Equal(t, addr.String(), h.talk().say(ask))
	h.reopen()
	guest := h.talk()
	assert.Equal(t, addr.String(), guest.say(ask), "an adopted VM stays connected")
	other := fmt.Sprintf("ask %s %s %s", netip.PrefixFrom(addr.Next(), n.Subnet().Bits()), n.Gateway(), l.Addr())
	assert.NotEqual(t, addr.Next().String(), guest.say(other), "nobody takes another's address")
	assert.Equal(t, 1, taps(t, n))
	require.NoError(t, h.PowerOff(h.ctx, uid))
	assert.Equal(t, 0, taps(t, n))
}

func taps(t *testing.T, n *network.Network) int {
	t.Helper()
	out, err := exec.Command("ip", "-n", n.Name(), "-o", "link", "show", "type", "tun").Output()
	require.NoError(t, err)
	return bytes.Count(out, []byte("\n"))
}
