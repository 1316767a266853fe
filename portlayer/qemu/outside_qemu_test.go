//go:build qemu

package qemu_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

func TestInspectNeedsNoServer(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	_, err := qemu.Inspect(h.config.Dir, uid)
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	_, err = qemu.Inspect(h.config.Dir, "../disks")
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	vm := h.start(spec(scratch("scratch")))
	d, err := qemu.Inspect(h.config.Dir, uid)
	require.NoError(t, err)
	assert.Equal(t, vm, d.VM)
	assert.True(t, d.Held)
	assert.Greater(t, d.ResidentBytes, int64(20*mib))
	require.Len(t, d.Disks, 1)
	assert.Equal(t, vm.Spec.Disks[0], d.Disks[0].Disk)
	assert.FileExists(t, d.Disks[0].Path)
	assert.Less(t, d.Disks[0].UsedBytes, int64(mib), "it is sparse")
	h.Close()
	d, err = qemu.Inspect(h.config.Dir, uid)
	require.NoError(t, err)
	assert.False(t, d.Held)
	assert.Equal(t, portlayer.StateRunning, d.State)
	h.open()
}

func TestAVMIsEndedAndRemovedFromOutside(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec(scratch("scratch")))
	require.ErrorIs(t, qemu.Remove(h.ctx, h.config.Dir, uid), portlayer.ErrBusy, "somebody has it")
	pid, err := qemu.End(h.ctx, h.config.Dir, uid)
	require.NoError(t, err)
	assert.Equal(t, vm.PID, pid)
	assert.Contains(t, h.stopped().StopReason, "signal 9")
	pid, err = qemu.End(h.ctx, h.config.Dir, uid)
	require.NoError(t, err)
	assert.Zero(t, pid, "it does not run any more")

	require.NoError(t, h.PowerOn(h.ctx, uid))
	running := h.get()
	h.Close()
	require.NoError(t, qemu.Remove(h.ctx, h.config.Dir, uid))
	require.NoError(t, qemu.Remove(h.ctx, h.config.Dir, uid), "one that is gone is not an error")
	require.Eventually(t, func() bool { // its parent, which is this process, has yet to take its exit code
		_, err := os.Stat(fmt.Sprintf("/proc/%d", running.PID))
		return os.IsNotExist(err)
	}, patience, time.Millisecond)
	assert.NoDirExists(t, filepath.Join(h.config.Dir, "vms", uid))
	h.open()
}

func TestAConsoleIsFollowedFromOutside(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	_, err := qemu.OpenConsole(h.config.Dir, uid)
	require.ErrorIs(t, err, portlayer.ErrNotFound)
	h.start(spec())
	guest := h.talk()
	console, err := qemu.OpenConsole(h.config.Dir, uid)
	require.NoError(t, err)
	defer console.Close()
	var seen strings.Builder
	follow := func(until func(string) bool) {
		t.Helper()
		require.Eventually(t, func() bool {
			b, err := console.Read(h.ctx)
			require.NoError(t, err)
			seen.Write(b)
			return until(seen.String())
		}, patience, 100*time.Millisecond)
	}
	follow(func(s string) bool { return strings.Contains(s, "testguest: up") })
	const shouts = 6 // of an eighth of a MiB each: the console's files change places meanwhile
	for i := range shouts {
		require.Equal(t, "shouted", guest.say("shout-kib 128"))
		follow(func(s string) bool { return strings.Count(s, "testguest: hoarse") == i+1 })
	}
	assert.FileExists(t, filepath.Join(h.config.Dir, "vms", uid, "console.log.1"))
	assert.Equal(t, shouts*128<<10/128, strings.Count(seen.String(), strings.Repeat("=", 127)+"\r\n"), "nothing is lost or repeated")

	h.Close()
	assert.True(t, console.Running())
	var late strings.Builder
	other, err := qemu.OpenConsole(h.config.Dir, uid)
	require.NoError(t, err)
	defer other.Close()
	b, err := other.Read(h.ctx)
	require.NoError(t, err)
	late.Write(b)
	assert.LessOrEqual(t, late.Len(), mib)
	assert.True(t, strings.HasSuffix(late.String(), "testguest: hoarse\r\n"), "who comes late has its end")

	size := func() int64 {
		info, err := os.Stat(filepath.Join(h.config.Dir, "vms", uid, "console.log"))
		require.NoError(t, err)
		return info.Size()
	}
	before := size()
	h.open()
	guest = h.talk()
	guest.order("shout-late 2") // when everybody has left
	h.Close()
	follow(func(s string) bool { return strings.Count(s, "testguest: hoarse") == shouts+1 })
	assert.Greater(t, size(), before, "where nobody has the VM, reading moves its console")
	h.open()
	require.NoError(t, h.PowerOff(h.ctx, uid))
	assert.False(t, console.Running())
}
