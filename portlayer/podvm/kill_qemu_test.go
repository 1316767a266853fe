//go:build qemu

package podvm_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
)

// childDir makes this test binary a process that has the VCH of a directory open until it is killed.
const childDir = "VIC_TEST_CHILD_DIR"

func killHost(t *testing.T, dir string) *qemuHost {
	t.Helper()
	return &qemuHost{t: t, runDir: filepath.Join(dir, "run"), config: qemu.Config{
		Dir: filepath.Join(dir, "vch"), GuestImage: guestImage(t), Accel: qemu.AccelTCG,
	}}
}

// TestKilledProcess is not a test but the process that TestAKilledProcessLosesNoLine kills.
func TestKilledProcess(t *testing.T) {
	dir := os.Getenv(childDir)
	if dir == "" {
		return
	}
	killHost(t, dir).open()
	<-t.Context().Done() // it is killed before
}

func TestAKilledProcessLosesNoLine(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	dir := t.TempDir()
	h := killHost(t, dir)
	h.open()
	draft, err := h.host.New(ctx, owner("uid-1"))
	require.NoError(t, err)
	draft.SetSize(portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 256 << 20})
	podvm.SetContainers(draft, []string{"app"})
	draft.AddScratch("scratch", 1<<30)
	draft.AddImage("image0", shellImage(t))
	before, err := h.host.Commit(ctx, draft)
	require.NoError(t, err)
	defer func() { // of whichever engine is open at the end
		require.NoError(t, h.host.Remove(context.WithoutCancel(ctx), "uid-1"))
	}()
	require.NoError(t, h.host.Start(ctx, "uid-1"))
	_, err = h.host.Configure(ctx, "uid-1", wire.Pod{
		Namespace: "default", Name: "p", Hostname: "p", RestartPolicy: "Always", Containers: []wire.Seed{{Name: "app"}},
	})
	require.NoError(t, err)
	require.NoError(t, h.host.Run(ctx, "uid-1", wire.Container{
		Name: "app", Disks: []string{"image0"}, Env: []string{"PATH=/bin"}, WorkingDir: "/",
		Args: []string{"/bin/sh", "-c", "trap 'exit 0' TERM; i=0; while :; do i=$((i+1)); echo line $i; done"},
	}))
	await(t, h.host, "uid-1", func(vm podvm.VM) bool {
		before = vm
		return vm.Current && len(vm.Guest.Containers) == 1 && vm.Guest.Containers[0].State == wire.ContainerRunning
	})
	h.close()
	for range 5 {
		killAChild(t, dir)
	}
	h.open()
	after := await(t, h.host, "uid-1", func(vm podvm.VM) bool { return vm.Current })
	require.Equal(t, before.PID, after.PID)
	require.Equal(t, before.Guest.BootID, after.Guest.BootID)
	require.Equal(t, before.Guest.Containers[0].ID, after.Guest.Containers[0].ID)
	require.NoError(t, h.host.Stop(ctx, "uid-1", wire.Stop{Grace: 20 * time.Second}))
	await(t, h.host, "uid-1", func(vm podvm.VM) bool { return vm.Guest.Phase == wire.PhaseDone && vm.LogsComplete })
	requireNumbered(t, h.host)
}

// killAChild lets another process have the VCH for a while, and ends it as kill -9 does.
func killAChild(t *testing.T, dir string) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledProcess$")
	child.Env = append(os.Environ(), childDir+"="+dir)
	require.NoError(t, child.Start())
	pause := time.NewTimer(time.Second + time.Duration(rand.IntN(1000))*time.Millisecond)
	<-pause.C
	require.NoError(t, child.Process.Kill())
	require.ErrorContains(t, child.Wait(), "killed")
}

// requireNumbered checks that the log has each line once and in order.
func requireNumbered(t *testing.T, e podvm.PodHost) {
	t.Helper()
	r, err := e.Logs(t.Context(), "uid-1", "app", podvm.LogOptions{})
	require.NoError(t, err)
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	require.Greater(t, len(lines), 1000)
	for i, line := range lines {
		require.Equal(t, fmt.Sprintf("line %d", i+1), line)
	}
	t.Logf("%d lines, none lost or repeated", len(lines))
}
