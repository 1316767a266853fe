//go:build qemu && long

package podvm_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/internal/testinitrd"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/podvm/podvmtest/hostile"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

const (
	foe, neighbour = "uid-2", "uid-1"

	harmMemory = 160 << 20 // of this process, garbage that is not collected yet included
	harmLogs   = 130 << 20 // two attempts of five segments of 10 MiB, and records
	harmVM     = 4 << 20   // the console, the record; the scratch disk apart
)

// hostileImage is the guest image with a guest that means harm where a VM has more than one processor.
func hostileImage(t *testing.T) qemu.GuestImage {
	t.Helper()
	image := guestImage(t)
	init, err := testinitrd.Build(t.Context(), testinitrd.HostileInit)
	require.NoError(t, err)
	guest, err := testinitrd.Build(t.Context(), testinitrd.Guest)
	require.NoError(t, err)
	initrd := filepath.Join(t.TempDir(), "initrd")
	require.NoError(t, testinitrd.Write(initrd, image.Initrd, map[string][]byte{"init": init, "vic-guest": guest}))
	image.Initrd = initrd
	return image
}

// parade has a VM whose guest misbehaves in every way there is, beside one whose guest is ours.
func parade(t *testing.T, cpus int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	dir := t.TempDir()
	h := &qemuHost{t: t, runDir: filepath.Join(dir, "run"), config: qemu.Config{
		Dir: filepath.Join(dir, "vch"), GuestImage: hostileImage(t), Accel: qemu.AccelTCG,
	}}
	h.open()
	defer func() {
		for _, uid := range []string{foe, neighbour} {
			require.NoError(t, h.host.Remove(context.WithoutCancel(ctx), uid))
		}
	}()
	h.begin(ctx, neighbour, 1)
	require.NoError(t, h.host.Run(ctx, neighbour, wire.Container{
		Name: "app", Disks: []string{"image0"}, Env: []string{"PATH=/bin"}, WorkingDir: "/",
		Args: []string{"/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo line $i; sleep 0.1; done"},
	}))
	calm := await(t, h.host, neighbour, func(vm podvm.VM) bool {
		return vm.Current && len(vm.Guest.Containers) == 1 && vm.Guest.Containers[0].State == wire.ContainerRunning
	})
	debug.FreeOSMemory()
	before := residentNow(t)
	h.begin(ctx, foe, cpus)
	seen := h.endure(ctx, before)
	t.Logf("memory +%d MiB, logs %d MiB, VM's files %d KiB, slowest exec in the other pod %s", seen.memory>>20, seen.logs>>20, seen.vm>>10, seen.exec)
	assert.Less(t, seen.memory, int64(harmMemory), "memory")
	assert.Less(t, seen.logs, int64(harmLogs), "logs")
	assert.Less(t, seen.vm, int64(harmVM), "files of the VM")

	after, err := h.host.Get(ctx, neighbour)
	require.NoError(t, err)
	assert.True(t, after.SilentSince.IsZero())
	assert.Equal(t, calm.Guest.BootID, after.Guest.BootID)
	assert.Equal(t, calm.Guest.Containers[0].ID, after.Guest.Containers[0].ID, "it was not started again")
}

// begin takes a pod to its configured guest.
func (h *qemuHost) begin(ctx context.Context, uid string, cpus int) {
	h.t.Helper()
	draft, err := h.host.New(ctx, owner(uid))
	require.NoError(h.t, err)
	draft.SetSize(portlayer.Size{VCPUs: cpus, CPUMilli: 1000, MemoryBytes: 256 << 20})
	podvm.SetContainers(draft, []string{"app"})
	draft.AddScratch("scratch", 1<<30)
	draft.AddImage("image0", shellImage(h.t))
	_, err = h.host.Commit(ctx, draft)
	require.NoError(h.t, err)
	require.NoError(h.t, h.host.Start(ctx, uid))
	_, err = h.host.Configure(ctx, uid, wire.Pod{
		Namespace: "default", Name: uid, Hostname: uid, RestartPolicy: "Always", Containers: []wire.Seed{{Name: "app"}},
	})
	require.NoError(h.t, err)
}

// harmDone is the most that was seen.
type harmDone struct {
	memory, logs, vm int64
	exec             time.Duration
}

// endure looks and works until the foe is done, and checks that it did what it can.
func (h *qemuHost) endure(ctx context.Context, before int64) harmDone {
	h.t.Helper()
	var seen harmDone
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		seen.memory = max(seen.memory, residentNow(h.t)-before)
		seen.logs = max(seen.logs, sizeOf(h.t, filepath.Join(h.runDir, foe)))
		seen.vm = max(seen.vm, sizeOf(h.t, filepath.Join(h.config.Dir, "vms", foe), "scratch-scratch.img"))
		begin := time.Now()
		exit, err := h.host.Exec(ctx, neighbour, "app", wire.Exec{Args: []string{"/bin/true"}}, podvm.Stdio{})
		require.NoError(h.t, err, "the other pod")
		require.Zero(h.t, exit.Code)
		seen.exec = max(seen.exec, time.Since(begin))
		console, err := h.host.Console(ctx, foe)
		require.NoError(h.t, err)
		if bytes.Contains(console, []byte("hostile: done")) {
			requireHarm(h.t, console)
			return seen
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			require.Fail(h.t, "the foe is not done", "%s", console[max(0, len(console)-2000):])
		}
	}
}

// requireHarm checks that every mode had its effect.
func requireHarm(t *testing.T, console []byte) {
	t.Helper()
	did := map[string]int64{}
	for _, found := range regexp.MustCompile(`hostile: (\w+) did (\d+)`).FindAllSubmatch(console, -1) {
		n, err := strconv.ParseInt(string(found[2]), 10, 64)
		require.NoError(t, err)
		did[string(found[1])] = n
	}
	t.Logf("%s", bytes.Join(regexp.MustCompile(`hostile: \w+ did [^\n]*`).FindAll(console, -1), []byte("\n")))
	for _, mode := range hostile.Modes() {
		assert.NotZero(t, did[string(mode)], "mode %s", mode)
	}
}

// residentNow is this process's memory by proc_pid_statm(5).
func residentNow(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.ParseInt(string(bytes.Fields(b)[1]), 10, 64)
	require.NoError(t, err)
	return pages * int64(os.Getpagesize())
}

// sizeOf is the sum of the files in dir but for some.
func sizeOf(t *testing.T, dir string, but ...string) int64 {
	t.Helper()
	var sum int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || (len(but) > 0 && d.Name() == but[0]) {
			return nil //nolint:nilerr // files come and go
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	require.NoError(t, err)
	return sum
}
