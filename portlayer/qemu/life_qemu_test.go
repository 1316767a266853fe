//go:build qemu

package qemu_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
	"github.com/virtual-kubelet/vic/portlayer/qemu/procfs"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

// asProcess makes this test program a process that opens a VCH, powers its VM on, and waits to be killed.
const asProcess = "VIC_TEST_OPEN_VCH"

func TestMain(m *testing.M) {
	if config := os.Getenv(asProcess); config != "" {
		if err := holdVCH(config); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func holdVCH(config string) error {
	var c qemu.Config
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	h, err := qemu.Open(context.Background(), c)
	if err != nil {
		return err
	}
	if _, err := h.Create(context.Background(), spec(scratch("scratch"))); err != nil {
		return err
	}
	if err := h.PowerOn(context.Background(), uid); err != nil {
		return err
	}
	fmt.Println("holding")
	_, err = os.Stdin.Read(make([]byte, 1))
	return err
}

func TestAVMOutlivesTheProcessThatStartedIt(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	config, err := json.Marshal(h.config)
	require.NoError(t, err)
	// As a service whose score is its own; a lower one takes a right that tests may not have.
	other := exec.Command("sh", "-c", `echo 100 >/proc/self/oom_score_adj && exec "$0"`, os.Args[0])
	other.Env = append(os.Environ(), asProcess+"="+string(config))
	_, err = other.StdinPipe()
	require.NoError(t, err)
	out, err := other.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, other.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "holding\n", line)

	vm := h.get()
	assert.Equal(t, portlayer.StateRunning, vm.State, "another process's VM is shown as it is")
	assert.Equal(t, "100\n", procFile(t, other.Process.Pid, "oom_score_adj"))
	assert.Equal(t, "500\n", procFile(t, vm.PID, "oom_score_adj"), "a VM is ended before what the host needs")
	_, err = h.Dial(h.ctx, uid)
	require.ErrorIs(t, err, portlayer.ErrBusy)
	require.ErrorIs(t, h.PowerOff(h.ctx, uid), portlayer.ErrBusy)
	require.ErrorIs(t, qemu.Purge(h.ctx, h.config.Dir), portlayer.ErrBusy)

	require.NoError(t, procfs.SetOOMScore(vm.PID, 600)) // as one that was killed before it had set it
	require.NoError(t, other.Process.Kill())
	require.Error(t, other.Wait())
	require.Equal(t, "scratch", h.talk().say("disks 1"), "whoever comes next takes it over")
	after := h.get()
	assert.Equal(t, "500\n", procFile(t, after.PID, "oom_score_adj"))
	assert.Equal(t, vm.PID, after.PID)
	assert.Equal(t, vm.StartedAt, after.StartedAt)
	require.NoError(t, unix.Kill(after.PID, unix.SIGKILL))
	assert.Contains(t, h.stopped().StopReason, "QEMU ended")
}

func TestAStoppedVMSaysWhy(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		order   string
		reason  string
		console string
	}{
		"it powered off": {"off", "the guest powered off", "testguest: up"},
		"it rebooted":    {"reboot", "the guest rebooted", "testguest: up"},
		"it panicked":    {"crash 0", "the guest's kernel panicked: sysrq triggered crash", "Kernel panic"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			h.start(spec())
			guest := h.talk()
			guest.say("disks 0")
			guest.order(tt.order)
			vm := h.stopped()
			assert.Equal(t, tt.reason, vm.StopReason)
			console, err := h.Console(h.ctx, uid)
			require.NoError(t, err)
			assert.Contains(t, string(console), tt.console)
			h.reopen()
			assert.Equal(t, tt.reason, h.get().StopReason, "the next process knows it too")
		})
	}
}

func TestAStoppedVMSaysWhyThoughNobodyWatched(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec())
	guest := h.talk()
	guest.say("disks 0")
	guest.order("crash 2")
	h.Close()
	h.awaitHalt()
	h.open()
	stopped := h.stopped()
	assert.Contains(t, stopped.StopReason, "panicked")
	console, err := h.Console(h.ctx, uid)
	require.NoError(t, err)
	assert.Contains(t, string(console), "Kernel panic", "QEMU kept the guest's last words")
	assert.NoDirExists(t, fmt.Sprintf("/proc/%d", vm.PID))
}

// awaitHalt returns when a VM whose VCH nobody has open executes no more.
func (h *host) awaitHalt() {
	h.Helper()
	conn, err := net.DialUnix("unix", nil, h.socket())
	require.NoError(h, err)
	client, err := qmp.New(h.ctx, conn, nil)
	require.NoError(h, err)
	defer client.Close()
	require.Eventually(h, func() bool {
		var answer struct{ Running bool }
		return client.Execute(h.ctx, qmp.Command{Name: "query-status"}, &answer) == nil && !answer.Running
	}, patience, 50*time.Millisecond)
}

func TestAQEMUKilledWhileNobodyWatched(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec())
	h.Close()
	require.NoError(t, unix.Kill(vm.PID, unix.SIGKILL))
	h.open()
	stopped := h.stopped()
	assert.Equal(t, "QEMU ended while nobody watched", stopped.StopReason)
	require.NoError(t, h.PowerOn(h.ctx, uid))
	assert.Empty(t, h.get().StopReason)
}

func TestAKilledQEMUSaysWhoKilledIt(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec())
	require.NoError(t, unix.Kill(vm.PID, unix.SIGKILL))
	assert.Equal(t, "QEMU was killed by signal 9 (killed)", h.stopped().StopReason)
	assert.NoDirExists(t, fmt.Sprintf("/proc/%d", vm.PID), "it was reaped")
}

func TestAWedgedQEMUIsKilled(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec())
	require.NoError(t, unix.Kill(vm.PID, unix.SIGSTOP))
	require.NoError(t, h.PowerOff(h.ctx, uid))
	assert.Empty(t, h.get().StopReason, "it was commanded")
	assert.NoDirExists(t, fmt.Sprintf("/proc/%d", vm.PID))
}

func TestOneConnectionToAGuestAtATime(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start(spec())
	first := h.talk()
	_, err := h.Dial(h.ctx, uid)
	require.ErrorIs(t, err, portlayer.ErrBusy)
	require.NoError(t, first.conn.Close())
	require.Empty(t, h.talk().say("disks 0"))
}

func TestTheConsoleIsBounded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.start(spec())
	guest := h.talk()
	for range 4 {
		require.Equal(t, "shouted", guest.say("shout 1"))
		console, err := h.Console(h.ctx, uid)
		require.NoError(t, err)
		assert.LessOrEqual(t, len(console), mib)
		assert.True(t, strings.HasSuffix(string(console), "testguest: hoarse\r\n"), "its end is there")
	}
	var kept int64
	files, err := filepath.Glob(filepath.Join(h.config.Dir, "vms", uid, "console.log*"))
	require.NoError(t, err)
	for _, f := range files {
		info, err := os.Stat(f)
		require.NoError(t, err)
		kept += info.Size()
	}
	assert.LessOrEqual(t, kept, int64(mib))
}

func TestQEMUIsConfined(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec(scratch("scratch")))
	status := procFile(t, vm.PID, "status")
	owner := statusLine(status, "Uid:")
	assert.Regexp(t, `^20\d{8} `, owner, "a user of its own")
	assert.Equal(t, owner, statusLine(status, "Gid:"))
	assert.Empty(t, statusLine(status, "Groups:"))
	for _, set := range []string{"CapInh:", "CapPrm:", "CapEff:", "CapAmb:"} {
		assert.Equal(t, "0000000000000000", statusLine(status, set), set)
	}
	assert.Equal(t, "1", statusLine(status, "NoNewPrivs:"))
	assert.Equal(t, "2", statusLine(status, "Seccomp:"), "a filter")
	assert.Regexp(t, `Max core file size +0 +0 `, procFile(t, vm.PID, "limits"))
	assert.Empty(t, procFile(t, vm.PID, "environ"))
	session, err := unix.Getsid(vm.PID)
	require.NoError(t, err)
	assert.Equal(t, vm.PID, session, "a session of its own")
	assert.NotContains(t, procFile(t, vm.PID, "cmdline"), h.config.Dir, "it knows no path of ours")
	assert.Contains(t, procFile(t, vm.PID, "cgroup"), uid)
	if !cgroup.SystemdRuns() {
		assert.Equal(t, strconv.Itoa(vm.Spec.Size.VCPUs+128), h.limit(vm.PID, "pids.max"), "it starts no threads without end")
		assert.Equal(t, runtime.NumCPU()*1000, h.weightOfAllVMs(vm.PID))
	}
}

func TestTheNodeSaysWhichVMsAreNotBounded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	assert.False(t, h.condition("PodVMsUnconfined").True)
	vm := h.start(spec())
	assert.False(t, h.condition("PodVMsUnconfined").True)
	for _, dir := range cgroup.Of(vm.PID, h.config.Dir, uid) { // as if the host had let us make none
		require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(filepath.Dir(dir)), "cgroup.procs"), []byte(strconv.Itoa(vm.PID)), 0))
	}
	said := h.condition("PodVMsUnconfined")
	assert.True(t, said.True)
	assert.Equal(t, "MemoryUnbounded", said.Reason)
	assert.Contains(t, said.Message, uid)
	require.NoError(t, h.PowerOff(h.ctx, uid))
	assert.False(t, h.condition("PodVMsUnconfined").True)
}

func TestVMsHaveDifferentUsers(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	owners := map[uint32]bool{}
	for i := range 3 {
		s := spec()
		s.ID = fmt.Sprintf("%s-%d", uid, i)
		_, err := h.Create(h.ctx, s)
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(h.config.Dir, "vms", s.ID, "vm.json"))
		require.NoError(t, err)
		var r struct{ Owner uint32 }
		require.NoError(t, json.Unmarshal(b, &r))
		owners[r.Owner] = true
	}
	assert.Len(t, owners, 3)
}

func procFile(t *testing.T, pid int, name string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	require.NoError(t, err)
	return string(b)
}

func statusLine(status, key string) string {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, key); ok {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return "no " + key
}

// limit is what a file of the VM's control groups says.
func (h *host) limit(pid int, file string) string {
	h.Helper()
	for _, dir := range cgroup.Of(pid, h.config.Dir, uid) {
		if b, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return "no " + file
}

// condition is what the VCH says of one kind.
func (h *host) condition(kind string) portlayer.Condition {
	h.Helper()
	capacity, err := h.Capacity(h.ctx)
	require.NoError(h, err)
	i := slices.IndexFunc(capacity.Conditions, func(c portlayer.Condition) bool { return c.Type == kind })
	require.GreaterOrEqual(h, i, 0, kind)
	return capacity.Conditions[i]
}

// weightOfAllVMs is what the VMs of the VCH weigh together, in thousandths of a processor.
func (h *host) weightOfAllVMs(pid int) int {
	h.Helper()
	for _, dir := range cgroup.Of(pid, h.config.Dir, uid) {
		for file, perCPU := range map[string]int{"cpu.shares": 1024, "cpu.weight": 100} {
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(dir), file)); err == nil {
				weight, err := strconv.Atoi(strings.TrimSpace(string(b)))
				require.NoError(h, err)
				return weight * 1000 / perCPU
			}
		}
	}
	require.Fail(h, "no control group for processors")
	return 0
}
