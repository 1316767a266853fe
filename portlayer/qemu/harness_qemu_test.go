//go:build qemu

package qemu_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/testinitrd"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

const (
	// patience is for a boot on loaded cores.
	patience = 90 * time.Second
	uid      = "6d1f1f3e-0000-4000-8000-000000000001"
	mib      = 1 << 20
)

// guestImage is what make guest-image built, unless the environment names another.
func guestImage(t *testing.T) qemu.GuestImage {
	t.Helper()
	dir := os.Getenv("VIC_GUEST_IMAGE")
	if dir == "" {
		dir = "../../bin/guest"
	}
	dir, err := filepath.Abs(dir)
	require.NoError(t, err)
	image := qemu.GuestImage{Kernel: filepath.Join(dir, "vmlinuz"), Initrd: filepath.Join(dir, "initrd.zst")}
	require.FileExists(t, image.Initrd, "make guest-image builds it")
	return image
}

// testGuest is the program that takes the place of the guest program.
var testGuest = sync.OnceValues(func() ([]byte, error) {
	return testinitrd.Build(context.Background(), testinitrd.HypervisorGuest)
})

func withTestGuest(t *testing.T) qemu.GuestImage {
	t.Helper()
	image := guestImage(t)
	init, err := testGuest()
	require.NoError(t, err)
	initrd := filepath.Join(t.TempDir(), "initrd")
	require.NoError(t, testinitrd.Write(initrd, image.Initrd, map[string][]byte{"init": init}))
	image.Initrd = initrd
	return image
}

// host is a VCH under test, and a process that has it open.
type host struct {
	*testing.T
	*qemu.Hypervisor
	config qemu.Config
	ctx    context.Context
}

// newHost opens a VCH of VMs that run the test guest. It ends with every VM that the test left.
func newHost(t *testing.T, change ...func(*qemu.Config)) *host {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	h := &host{T: t, ctx: ctx, config: qemu.Config{
		Dir: filepath.Join(t.TempDir(), "vch"), GuestImage: withTestGuest(t), Accel: qemu.AccelTCG,
	}}
	for _, f := range change {
		f(&h.config)
	}
	h.open()
	t.Cleanup(func() {
		if h.Hypervisor != nil {
			h.Close()
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		require.NoError(t, qemu.Purge(ctx, h.config.Dir))
		require.NoDirExists(t, h.config.Dir)
		require.Empty(t, h.controlGroups())
	})
	return h
}

// controlGroups are those that there are for VMs of the VCH.
func (h *host) controlGroups() []string {
	h.Helper()
	sum := sha256.Sum256([]byte(h.config.Dir))
	name := "vic-" + hex.EncodeToString(sum[:4])
	var found []string
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == name {
			found = append(found, path)
		}
		return nil // what other tests remove meanwhile is none of ours
	})
	require.NoError(h, err)
	return found
}

func (h *host) open() {
	h.Helper()
	var err error
	h.Hypervisor, err = qemu.Open(h.ctx, h.config)
	require.NoError(h, err)
}

// reopen is what the next process does after the one that had the VCH.
func (h *host) reopen() {
	h.Helper()
	h.Close()
	h.open()
}

func spec(disks ...portlayer.Disk) portlayer.Spec {
	return portlayer.Spec{
		ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid, Namespace: "default", Name: "web", Node: "vic-local", Generation: 1},
		Size:  portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 128 * mib},
		Disks: disks,
	}
}

func scratch(serial string) portlayer.Disk {
	return portlayer.Disk{Kind: portlayer.DiskScratch, Serial: serial, SizeBytes: 64 * mib}
}

// start creates a VM and powers it on.
func (h *host) start(s portlayer.Spec) portlayer.VM {
	h.Helper()
	_, err := h.Create(h.ctx, s)
	require.NoError(h, err)
	require.NoError(h, h.PowerOn(h.ctx, s.ID))
	return h.get()
}

// get returns the one VM that there is.
func (h *host) get() portlayer.VM {
	h.Helper()
	vms, err := h.List(h.ctx)
	require.NoError(h, err)
	require.Len(h, vms, 1)
	return vms[0]
}

// socket is the VM's QMP socket by a path that is short enough for one.
func (h *host) socket() *net.UnixAddr {
	h.Helper()
	dir, err := os.Open(filepath.Join(h.config.Dir, "vms", uid))
	require.NoError(h, err)
	h.Cleanup(func() { _ = dir.Close() })
	return &net.UnixAddr{Name: fmt.Sprintf("/proc/self/fd/%d/qmp.sock", dir.Fd()), Net: "unix"}
}

// stopped waits until the VM has stopped.
func (h *host) stopped() portlayer.VM {
	h.Helper()
	changes := h.Watch(h.ctx)
	for {
		if vm := h.get(); vm.State == portlayer.StateStopped {
			return vm
		}
		select {
		case _, ok := <-changes:
			require.True(h, ok, "the VM goes on")
		case <-h.ctx.Done():
			require.Fail(h, "the VM goes on")
		}
	}
}

// conversation is a connection to the test guest.
type conversation struct {
	*testing.T
	conn  io.ReadWriteCloser
	lines chan string // closed with the connection
}

// talk connects and asks for a sign of life until it gets it: what is on its way when the host changes may be lost.
func (h *host) talk() *conversation {
	h.Helper()
	conn, err := h.Dial(h.ctx, uid)
	require.NoError(h, err)
	c := &conversation{h.T, conn, make(chan string, 100)}
	go func() { // ends with the connection
		defer close(c.lines)
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			c.lines <- lines.Text()
		}
	}()
	stop := context.AfterFunc(h.ctx, func() { _ = conn.Close() }) // so that no answer is waited for forever
	h.Cleanup(func() { stop(); _ = conn.Close() })
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for n := 0; ; n++ {
		sign := fmt.Sprintf("%p-%d", c, n)
		c.order("echo " + sign)
		for waiting := true; waiting; {
			select {
			case line, ok := <-c.lines:
				require.True(h, ok, "the guest does not answer")
				if line == sign {
					return c
				}
			case <-again.C:
				waiting = false
			}
		}
	}
}

// say sends a line and returns the answer to it.
func (c *conversation) say(words string) string {
	c.Helper()
	c.order(words)
	for line := range c.lines {
		if !strings.HasPrefix(line, "0x") { // an answer to an earlier sign
			return line
		}
	}
	require.Fail(c, "the guest does not answer", words)
	return ""
}

// order sends a line that has no answer.
func (c *conversation) order(words string) {
	c.Helper()
	_, err := fmt.Fprintln(c.conn, words)
	require.NoError(c, err)
}
