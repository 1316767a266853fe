//go:build qemu

package qemu_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
)

// namespace names the one of that kind that a process is in.
func namespace(t *testing.T, pid int, kind string) string {
	t.Helper()
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, kind))
	require.NoError(t, err)
	return name
}

func TestAQEMUReachesNothingOfTheHost(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "vch")
	n, err := network.Open(t.Context(), network.Config{Dir: dir})
	require.NoError(t, err)
	h := newHost(t, func(c *qemu.Config) { c.Dir, c.Network = dir, n })
	t.Cleanup(func() { require.NoError(t, network.Purge(context.WithoutCancel(t.Context()), dir)) })
	s := spec(scratch("scratch"))
	s.NICs = []portlayer.NIC{nic(n)}
	vm := h.start(s)
	for _, kind := range []string{"net", "mnt", "ipc", "uts"} {
		assert.NotEqual(t, namespace(t, os.Getpid(), kind), namespace(t, vm.PID, kind), kind)
	}
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", vm.PID))
	require.NoError(t, err)
	assert.Empty(t, entries)
	mounts := strings.Split(strings.TrimSpace(procFile(t, vm.PID, "mountinfo")), "\n")
	require.Len(t, mounts, 1)
	assert.Regexp(t, ` / / ro,\S* - tmpfs `, mounts[0])
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", vm.PID))
	require.NoError(t, err)
	assert.Equal(t, "/", cwd)
	links := strings.Split(strings.TrimSpace(procFile(t, vm.PID, "net/dev")), "\n")
	require.Len(t, links, 3, "two lines of heading and the loopback interface: %v", links)
	assert.LessOrEqual(t, strings.Count(procFile(t, vm.PID, "net/route"), "\n"), 1, "no route below the heading")
	assert.NotContains(t, procFile(t, vm.PID, "net/unix"), "@", "no socket with an abstract name")

	for range 2 { // also after it is adopted
		guest := h.talk()
		assert.Equal(t, "scratch", guest.say("disks 1"))
		got, err := h.List(h.ctx)
		require.NoError(t, err)
		next := got[0].Spec.Clone()
		next.Disks = append(next.Disks, scratch("second"))
		_, err = h.Update(h.ctx, next, got[0].Version)
		require.NoError(t, err)
		assert.Equal(t, "scratch second", guest.say("disks 2"), "it takes disks without a path to them")
		next.Disks = next.Disks[:1]
		_, err = h.Update(h.ctx, next, got[0].Version+1)
		require.NoError(t, err)
		assert.Equal(t, "scratch", guest.say("disks 1"))
		h.reopen()
	}
	assert.Equal(t, vm.PID, h.get().PID)
}

func TestMountsOfTheHostStayAsTheyAre(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	before := map[string]string{}
	for _, kind := range []string{"net", "mnt"} {
		before[kind] = namespace(t, os.Getpid(), kind)
	}
	vm := h.start(spec())
	for kind, name := range before {
		assert.Equal(t, name, namespace(t, os.Getpid(), kind))
	}
	assert.FileExists(t, "/proc/self/status")
	assert.NotContains(t, procFile(t, os.Getpid(), "mountinfo"), "mode=555", "what is mounted for QEMU is mounted nowhere else")
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root", vm.PID))
	require.NoError(t, err)
	assert.Empty(t, entries, "a VM without interfaces needs no network")
}
