//go:build qemu

package vcenter_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/testinitrd/vsphereguest/report"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
	"github.com/virtual-kubelet/vic/portlayer/qemu/network"
	"github.com/virtual-kubelet/vic/standalone/vcenter"
)

func TestAGuestSeesVSphereHardware(t *testing.T) {
	t.Parallel()
	l := userLab(t)
	l.create()
	g := l.powerOn()
	r := g.look(2)
	assert.Empty(t, r.Broken, "every module of the ISO loads")
	assert.ElementsMatch(t, []report.Disk{
		{Driver: "vmw_pvscsi", Target: 0, Bytes: 3 * grain, Head: "an image"},
		{Driver: "vmw_pvscsi", Target: 1, Bytes: 64 << 20},
	}, r.Disks)
	assert.Equal(t, []report.NIC{{Driver: "vmxnet3", MAC: l.mac}}, r.NICs)
	assert.Equal(t, []string{"/dev/sr0"}, r.CDs)
	assert.Equal(t, l.blob(), r.Boot)
	assert.Equal(t, 1, r.CPUs)
	assert.InDelta(t, 256<<10, r.MemoryKiB, 40<<10)
	assert.Equal(t, portlayer.StateRunning, l.state())
}

func TestDisksComeAndGoWhileTheVMRuns(t *testing.T) {
	t.Parallel()
	l := userLab(t)
	image := l.create()
	other, err := l.h.EnsureDisk(t.Context(), source("another image"))
	require.NoError(t, err)
	g := l.powerOn()
	g.look(2)
	before := l.files("default-pod-" + l.uid)

	disks := l.spec(
		portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image0", Ref: image},
		portlayer.Disk{Kind: portlayer.DiskScratch, Serial: "scratch", SizeBytes: 64 << 20},
		portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image1", Ref: other},
		portlayer.Disk{Kind: portlayer.DiskScratch, Serial: "more", SizeBytes: 32 << 20},
	)
	vms, err := l.h.List(t.Context())
	require.NoError(t, err)
	vm, err := l.h.Update(t.Context(), disks, vms[0].Version)
	require.NoError(t, err)
	assert.ElementsMatch(t, []report.Disk{
		{Driver: "vmw_pvscsi", Target: 0, Bytes: 3 * grain, Head: "an image"},
		{Driver: "vmw_pvscsi", Target: 1, Bytes: 64 << 20},
		{Driver: "vmw_pvscsi", Target: 2, Bytes: 3 * grain, Head: "another image"},
		{Driver: "vmw_pvscsi", Target: 3, Bytes: 32 << 20},
	}, g.look(4).Disks)
	g.write(3, "written")

	disks.Disks = disks.Disks[:2]
	_, err = l.h.Update(t.Context(), disks, vm.Version)
	require.NoError(t, err)
	for _, d := range g.look(2).Disks {
		assert.Less(t, d.Target, 2)
	}
	assert.ElementsMatch(t, before, l.files("default-pod-"+l.uid), "the disks' files are gone")
	assert.Contains(t, l.files("vic/vch/images"), string(other), "but for the image's")

	task, err := l.machine().Reconfigure(t.Context(), types.VirtualMachineConfigSpec{NumCPUs: 2})
	require.NoError(t, err)
	require.Error(t, task.Wait(t.Context()), "a VM that runs keeps its processors")
}

func TestAVMOverItsPowerCycles(t *testing.T) {
	t.Parallel()
	l := userLab(t)
	image := l.create()
	flat := strings.TrimSuffix(string(image), ".vmdk") + "-flat.vmdk"
	base, err := os.ReadFile(filepath.Join(l.dir, "datastore/vic/vch/images", flat))
	require.NoError(t, err)
	g := l.powerOn()
	first := g.look(2)
	g.write(0, "own")
	g.write(1, "scratch")
	booted := l.facts().Summary.Runtime.BootTime
	require.NotNil(t, booted)

	// The guest resets: the VM stays on.
	g.send("reset")
	g = l.accept()
	second := g.look(2)
	assert.NotEqual(t, first.BootID, second.BootID)
	assert.Equal(t, portlayer.StateRunning, l.state())
	assert.Equal(t, booted, l.facts().Summary.Runtime.BootTime)

	// The guest powers off: the VM is off. The next blob is new, and what the guest wrote is there.
	g.send("off")
	l.await(portlayer.StateStopped)
	assert.Nil(t, l.facts().Summary.Runtime.BootTime)
	l.setExtra("guestinfo.vic.test", l.blob()+"\n")
	g = l.powerOn()
	third := g.look(2)
	assert.Equal(t, l.blob()+"\n", third.Boot)
	assert.True(t, l.facts().Summary.Runtime.BootTime.After(*booted))
	heads := []string{third.Disks[0].Head, third.Disks[1].Head}
	assert.ElementsMatch(t, []string{"own", "scratch"}, heads)

	// The plug is pulled, and the VM destroyed: all that is left is the image's disk, as it was.
	require.NoError(t, l.h.PowerOff(t.Context(), l.uid))
	assert.Equal(t, portlayer.StateStopped, l.state())
	assert.Empty(t, qemus(t, l), "no QEMU is left")
	require.NoError(t, l.h.Destroy(t.Context(), l.uid))
	assert.ElementsMatch(t, []string{string(image), flat}, l.files("vic/vch/images"))
	now, err := os.ReadFile(filepath.Join(l.dir, "datastore/vic/vch/images", flat))
	require.NoError(t, err)
	assert.Equal(t, base, now)
	assert.NotContains(t, l.files(""), "default-pod-"+l.uid)
}

// qemus are the processes that run the pod's VM.
func qemus(t *testing.T, l *lab) []int {
	t.Helper()
	name := "guest=" + l.machine().Reference().Value
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var pids []int
	for _, f := range lines {
		b, _ := os.ReadFile(f) // it may have ended
		if line := string(b); strings.Contains(line, name+"\x00") && strings.Contains(line, l.dir+"/") {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			require.NoError(t, err)
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestAQEMUThatIsKilledLeavesTheVMOff(t *testing.T) {
	t.Parallel()
	l := userLab(t)
	l.create()
	require.NoError(t, l.h.PowerOn(t.Context(), l.uid))
	pids := qemus(t, l)
	require.Len(t, pids, 1)
	groups := cgroup.Of(pids[0], l.dir, l.facts().Config.InstanceUuid)
	if !cgroup.SystemdRuns() {
		require.NotEmpty(t, groups, "its shares weigh it")
	}
	require.NoError(t, unix.Kill(pids[0], unix.SIGKILL))
	l.await(portlayer.StateStopped)
	for _, dir := range groups {
		assert.NoDirExists(t, dir)
	}
	require.NoError(t, l.h.PowerOn(t.Context(), l.uid), "and it can be powered on again")
	task, err := l.machine().Reset(t.Context())
	require.NoError(t, err)
	require.NoError(t, task.Wait(t.Context()))
	again := qemus(t, l)
	require.Len(t, again, 1)
	l.vc.Close()
	require.ErrorIs(t, unix.Kill(again[0], 0), unix.ESRCH, "it ends with the vCenter")
}

func TestAVMThatCannotStartStaysOff(t *testing.T) {
	t.Parallel()
	l := userLab(t)
	l.create()
	dc, err := object.NewSearchIndex(l.admin.Client).FindByInventoryPath(t.Context(), "/DC0")
	require.NoError(t, err)
	task, err := object.NewFileManager(l.admin.Client).DeleteDatastoreFile(t.Context(), vcenter.BootISO, dc.(*object.Datacenter))
	require.NoError(t, err)
	require.NoError(t, task.Wait(t.Context()))
	err = l.h.PowerOn(t.Context(), l.uid)
	require.Error(t, err)
	assert.Equal(t, portlayer.StateCreated, l.state())
	assert.Empty(t, qemus(t, l))
	require.NoError(t, l.h.Destroy(t.Context(), l.uid))
}

// TestPodsHaveTheirOwnAddresses needs root, as the network does.
func TestPodsHaveTheirOwnAddresses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, err := network.Open(t.Context(), network.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, network.Purge(context.WithoutCancel(t.Context()), dir)) })
	first := n.Gateway().Next().Next()
	l := newLab(t, vcenter.Taps{Network: n}, n.Gateway(), netip.PrefixFrom(first, n.Subnet().Bits()))
	l.create()
	other := *l
	other.pod = pod{"uid-2", "00:50:56:00:00:02", netip.PrefixFrom(first.Next(), n.Subnet().Bits())}
	other.create()

	// Both run at once, with children of one disk.
	require.NoError(t, l.h.PowerOn(t.Context(), l.uid))
	require.NoError(t, l.h.PowerOn(t.Context(), other.uid))
	var hosts []string
	for range 2 {
		g := l.accept()
		assert.Contains(t, g.look(2).Disks, report.Disk{Driver: "vmw_pvscsi", Target: 0, Bytes: 3 * grain, Head: "an image"})
		host, _, err := net.SplitHostPort(g.conn.RemoteAddr().String())
		require.NoError(t, err)
		hosts = append(hosts, host)
		g.send("off")
	}
	assert.ElementsMatch(t, []string{first.String(), first.Next().String()}, hosts)
	l.await(portlayer.StateStopped)
	other.await(portlayer.StateStopped)
}

func TestCapacityIsTheMachines(t *testing.T) {
	t.Parallel()
	l := userLab(t)
	c, err := l.h.Capacity(t.Context())
	require.NoError(t, err)
	var machine unix.Sysinfo_t
	require.NoError(t, unix.Sysinfo(&machine))
	assert.Equal(t, int64(runtime.NumCPU())*1000, c.CPUMilli)
	assert.Equal(t, int64(machine.Totalram)*int64(machine.Unit), c.MemoryBytes)
	assert.Positive(t, c.FreeStorageBytes)
}

// TestQEMUEndsWithAVCenterThatIsKilled runs itself in another process, which is killed.
func TestQEMUEndsWithAVCenterThatIsKilled(t *testing.T) {
	t.Parallel()
	const key = "VIC_TEST_KILLED"
	if os.Getenv(key) != "" {
		l := userLab(t)
		l.create()
		require.NoError(t, l.h.PowerOn(t.Context(), l.uid))
		pid := qemus(t, l)[0]
		fmt.Println("QEMU", pid, l.dir, strings.Join(cgroup.Of(pid, l.dir, l.facts().Config.InstanceUuid), ","))
		select {}
	}
	child := exec.Command(os.Args[0], "-test.run", t.Name())
	child.Env = append(os.Environ(), key+"=1", "TMPDIR="+t.TempDir())
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	var pid int
	var dir, groups string
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "QEMU %d %s %s", &pid, &dir, &groups)
	}
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	require.NotZero(t, pid)
	require.Eventually(t, func() bool { return unix.Kill(pid, 0) == unix.ESRCH }, patience, 10*time.Millisecond)

	vc, err := vcenter.Start(t.Context(), vcenter.Config{Dir: dir})
	require.NoError(t, err)
	t.Cleanup(vc.Close)
	for group := range strings.SplitSeq(groups, ",") {
		assert.NoDirExists(t, group, "the next one takes away what was left")
	}
}
