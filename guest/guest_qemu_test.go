//go:build qemu

package guest_test

import (
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestAProbeSaysThatTheMachineBoots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v := launch(t, dir, "vic.probe")
	v.awaitExit()
	b, err := os.ReadFile(filepath.Join(dir, "console.log"))
	require.NoError(t, err)
	require.Contains(t, string(b), "vic-guest: probe ok")
	t.Logf("probe took %s", time.Since(v.began))
}

func TestAPodOfOneContainer(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	greeted := time.Since(v.began)
	var hello wire.Hello
	v.call("GET", wire.PathHello, nil, &hello)
	require.False(t, hello.Configured)
	require.Empty(t, hello.BootID, "no host has named the boot")
	status, _ := v.call("PUT", wire.PathBoot, wire.BootName{ID: "no name"}, nil)
	require.Equal(t, http.StatusBadRequest, status)
	v.call("PUT", wire.PathBoot, wire.BootName{ID: "first"}, &hello)
	require.Equal(t, "first", hello.BootID)
	require.Positive(t, hello.MemoryBytes)
	status, _ = v.call("PUT", wire.PathFiles, wire.Files{Volume: "config"}, nil)
	require.Equal(t, http.StatusConflict, status)
	bad := podOf("Never", "app")
	bad.Entropy = nil
	status, _ = v.call("PUT", wire.PathPod, bad, nil)
	require.Equal(t, http.StatusBadRequest, status)

	pod := podOf("Never", "app")
	var ready wire.Ready
	v.call("PUT", wire.PathPod, pod, &ready)
	configured := time.Since(v.began)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.2.15")}, ready.Addresses)
	v.call("PUT", wire.PathBoot, wire.BootName{ID: "second"}, &hello)
	require.Equal(t, "first", hello.BootID, "a boot with a pod keeps its name")
	v.configure(pod)
	other := pod
	other.UID = "uid-2"
	status, _ = v.call("PUT", wire.PathPod, other, nil)
	require.Equal(t, http.StatusConflict, status)

	v.run(sh("app", "hostname; cat /etc/hosts /etc/resolv.conf; ip route; date +%Y; exit 3"))
	st := v.awaitState("app", wire.ContainerTerminated)
	t.Logf("seconds since QEMU's start: greeting %.2f, pod configured %.2f, container ended %.2f",
		greeted.Seconds(), configured.Seconds(), time.Since(v.began).Seconds())
	assert.Equal(t, int32(3), st.Current.ExitCode)
	assert.Equal(t, wire.ReasonError, st.Current.Reason)
	assert.WithinRange(t, st.Current.FinishedAt, v.began.Add(-time.Minute), time.Now().Add(time.Minute), "the guest's clock is right")
	log := v.log("app", 0)
	for _, want := range []string{
		"web\n", "10.0.2.15\tweb\n", "1.2.3.4\tother\n", "nameserver 10.0.2.3\n", "search default.svc.cluster.local\n",
		"default via 10.0.2.2 dev eth0", time.Now().UTC().Format("2006"),
	} {
		assert.Contains(t, log, want)
	}
	snapshot := v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
	assert.Equal(t, "Created", snapshot.Events[0].Reason)
	assert.Equal(t, "Started", snapshot.Events[1].Reason)
	v.powerOff()
}

func TestAnAddressThatIsInUseIsRefused(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	pod := podOf("Never", "app")
	pod.Interfaces[0].Addresses = []netip.Prefix{netip.MustParsePrefix(gateway + "/24")}
	status, text := v.call("PUT", wire.PathPod, pod, nil)
	require.Equal(t, http.StatusConflict, status)
	require.Contains(t, text, gateway)
}

func TestHowContainersRunAndEnd(t *testing.T) {
	t.Parallel()
	missing := wire.Container{Name: "missing", Disks: []string{"image"}, Args: []string{"nosuch", "arg"}}
	notExecutable := wire.Container{Name: "notexec", Disks: []string{"image"}, Args: []string{"/etc/passwd"}}
	user := sh("user", "id; pwd; touch x && echo wrote; touch /y 2>/dev/null || echo refused")
	user.User, user.WorkingDir = "app", "/home/app"
	readOnly := sh("readonly", "touch /x 2>/dev/null || echo refused; echo said > /dev/termination-log; exit 1")
	readOnly.ReadOnlyRoot, readOnly.TerminationMessageFromLog = true, true
	fromLog := sh("fromlog", "echo first; echo last; exit 1")
	fromLog.TerminationMessageFromLog = true
	workdir := sh("workdir", "pwd; env")
	workdir.WorkingDir, workdir.Env = "/made/for/me", []string{"A=1", "B=two words"}
	nobody := sh("nobody", "true")
	nobody.User = "nosuchuser"
	tty := sh("tty", "tty; stty size; echo out; echo err >&2")
	tty.TTY = true
	oom := sh("oom", "x=a; while true; do x=$x$x; done")
	oom.Resources = wire.Resources{MemoryBytes: 16 << 20, CPUMilli: 500, CPURequestMilli: 100}
	// A child in a control group of its own, which alone the kernel ends.
	child := sh("child", `cd /sys/fs/cgroup && mkdir main small && echo 0 > main/cgroup.procs && echo +memory > cgroup.subtree_control &&
		echo 8388608 > small/memory.max && sh -c 'echo 0 > small/cgroup.procs; x=a; while true; do x=$x$x; done'; echo survived; exit 3`)
	child.Security.Privileged = true
	stdin := sh("stdin", "cat; echo over")
	partial := sh("partial", "printf 'no newline'")
	group := sh("caps", "grep Cap /proc/self/status; cat /sys/fs/cgroup/memory.max; ls -d /sys/fs/cgroup; ps | wc -l")
	containers := []wire.Container{missing, notExecutable, user, readOnly, fromLog, workdir, nobody, tty, oom, child, stdin, partial, group}

	v := start(t, t.TempDir())
	var names []string
	for _, c := range containers {
		names = append(names, c.Name)
	}
	v.configure(podOf("Never", names...))
	for _, c := range containers {
		v.run(c)
	}
	s := v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
	ended := func(name string, code int32, reason, message string) {
		c, _ := s.Container(name)
		if assert.NotNil(t, c.Current, name) {
			assert.Equal(t, code, c.Current.ExitCode, name)
			assert.Equal(t, reason, c.Current.Reason, name)
			assert.Contains(t, c.Current.Message, message, name)
		}
	}
	ended("missing", 128, wire.ReasonStartError, "`nosuch`")
	ended("notexec", 128, wire.ReasonStartError, "ermission denied")
	ended("nobody", 128, wire.ReasonStartError, "unable to find user nosuchuser")
	ended("user", 0, wire.ReasonCompleted, "")
	ended("readonly", 1, wire.ReasonError, "said\n")
	ended("fromlog", 1, wire.ReasonError, "first\nlast\n")
	ended("oom", 137, wire.ReasonOOMKilled, "")
	ended("child", 3, wire.ReasonOOMKilled, "")
	assert.Equal(t, "survived\n", strings.ReplaceAll(v.log("child", 0), "Killed\n", ""))
	ended("stdin", 0, wire.ReasonCompleted, "")

	assert.Equal(t, "uid=1000(app) gid=1000(app) groups=2000(extra)\n/home/app\nrefused\n",
		strings.ReplaceAll(strings.ReplaceAll(v.log("user", 0), "touch: x: Permission denied\n", ""), "groups=1000(app),2000(extra)", "groups=2000(extra)"))
	assert.Equal(t, "refused\n", v.log("readonly", 0))
	assert.Contains(t, v.log("workdir", 0), "/made/for/me\n")
	assert.Contains(t, v.log("workdir", 0), "A=1\n")
	assert.Contains(t, v.log("workdir", 0), "B=two words\n")
	assert.Contains(t, v.log("workdir", 0), "HOSTNAME=web\n")
	assert.Equal(t, "/dev/pts/0\r\n", strings.SplitAfter(v.log("tty", 0), "\n")[0])
	assert.Contains(t, v.log("tty", 0), "out\r\nerr\r\n")
	assert.Equal(t, "over\n", v.log("stdin", 0), "without stdin there is the null device")
	assert.Equal(t, "no newline", v.log("partial", 0))
	assert.Contains(t, v.log("caps", 0), "CapBnd:\t00000000a80425fb\n")
	var failed []string
	for _, e := range s.Events {
		if e.Reason == "Failed" && e.Warning {
			failed = append(failed, e.Container)
		}
	}
	assert.ElementsMatch(t, []string{"missing", "notexec", "nobody"}, failed)
	v.powerOff()
}

func TestAContainerWaitsForADiskThatIsAddedLater(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	v.configure(podOf("Never", "later", "never"))
	c := sh("later", "echo here")
	c.Disks = []string{"added"}
	v.run(c)
	never := sh("never", "true")
	never.Disks = []string{"absent"}
	v.run(never)
	v.awaitState("never", wire.ContainerWaiting)
	disk := imageDisk(t)
	v.qmp(
		`{"execute":"blockdev-add","arguments":{"driver":"raw","node-name":"added","read-only":true,"file":{"driver":"file","filename":"`+disk+`"}}}`,
		`{"execute":"device_add","arguments":{"driver":"scsi-hd","drive":"added","serial":"added","bus":"scsi.0"}}`,
	)
	st := v.awaitState("later", wire.ContainerTerminated)
	assert.Zero(t, st.Current.ExitCode)
	assert.Equal(t, "here\n", v.log("later", 0))
	v.must("POST", wire.PathStop, wire.Stop{})
	v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
}

func TestAPodThatTakesAllMemoryDoesNotTakeTheMachine(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	v.configure(podOf("Never", "hog", "innocent"))
	innocent := sh("innocent", "trap 'exit 0' TERM; while true; do sleep 0.2; done")
	v.run(innocent)
	v.awaitState("innocent", wire.ContainerRunning)
	t.Log(v.output("innocent", "grep -E 'MemTotal|MemAvailable' /proc/meminfo; cat /proc/uptime"))
	v.run(sh("hog", "x=a; while true; do x=$x$x; done"))
	hog := v.awaitState("hog", wire.ContainerTerminated)
	assert.Equal(t, wire.ReasonOOMKilled, hog.Current.Reason)
	assert.Equal(t, int32(137), hog.Current.ExitCode)
	assert.Equal(t, "fine\n", v.output("innocent", "echo fine"))
	b, err := os.ReadFile(filepath.Join(v.dir, "console.log"))
	require.NoError(t, err)
	assert.NotContains(t, string(b), "vic-guest invoked oom-killer")
}

func TestRestartsBackOff(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	v.configure(podOf("Always", "app"))
	v.run(sh("app", "echo run; exit 1"))
	s := v.await(func(s wire.Snapshot) bool {
		c, _ := s.Container("app")
		return c.Reason == wire.ReasonCrashLoopBackOff
	})
	c, _ := s.Container("app")
	assert.Equal(t, int32(1), c.RestartCount, "the first restart comes at once")
	assert.Equal(t, "back-off 10s restarting failed container=app pod=web_default(uid-1)", c.Message)
	assert.Equal(t, int32(1), c.Last.ExitCode)
	s = v.await(func(s wire.Snapshot) bool {
		c, _ = s.Container("app")
		return c.RestartCount == 2 && c.Reason == wire.ReasonCrashLoopBackOff
	})
	assert.Equal(t, 20*time.Second, c.Backoff)
	for attempt := range 3 {
		assert.Equal(t, "run\n", v.log("app", attempt))
	}
	v.must("POST", wire.PathStop, wire.Stop{Grace: time.Hour})
	s = v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
	var backOffs int
	for _, e := range s.Events {
		if e.Reason == "BackOff" {
			backOffs++
		}
	}
	assert.Equal(t, 1, backOffs, "what comes again before a host has taken it is one event")
}

func TestStopGivesGrace(t *testing.T) {
	t.Parallel()
	v := start(t, t.TempDir())
	v.configure(podOf("Always", "good", "stubborn", "never-run"))
	v.run(sh("good", "trap 'echo bye; exit 7' TERM; echo up; while true; do sleep 0.1; done"))
	v.run(sh("stubborn", "trap '' TERM; echo up; while true; do sleep 0.1; done"))
	v.await(func(s wire.Snapshot) bool {
		g, _ := s.Container("good")
		st, _ := s.Container("stubborn")
		return g.LogBytes > 0 && st.LogBytes > 0 || (g.State == wire.ContainerRunning && st.State == wire.ContainerRunning &&
			waitForLog(v, "good") && waitForLog(v, "stubborn"))
	})
	v.must("POST", wire.PathStop, wire.Stop{Grace: time.Hour, Reason: "deleted"})
	good := v.awaitState("good", wire.ContainerTerminated)
	assert.Equal(t, int32(7), good.Current.ExitCode)
	assert.Equal(t, "up\nbye\n", v.log("good", 0))
	v.must("POST", wire.PathStop, wire.Stop{Grace: 100 * time.Millisecond})
	s := v.await(func(s wire.Snapshot) bool { return s.Phase == wire.PhaseDone })
	stubborn, _ := s.Container("stubborn")
	assert.Equal(t, int32(137), stubborn.Current.ExitCode)
	assert.Equal(t, int32(9), stubborn.Current.Signal)
	never, _ := s.Container("never-run")
	assert.Equal(t, wire.ContainerWaiting, never.State)
	assert.True(t, never.Final)
	assert.Equal(t, "deleted", s.StopReason)
	v.powerOff()
}

// waitForLog waits until a running container has written something.
func waitForLog(v *vm, name string) bool {
	path := strings.NewReplacer("{container}", name, "{attempt}", "0").Replace(wire.PathLog)
	resp, err := v.client.Get("http://guest" + path)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	n, _ := resp.Body.Read(make([]byte, 1))
	return n == 1
}

func TestAScratchDiskOutlivesTheMachine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := sh("app", "cat /data/kept 2>/dev/null; echo kept > /data/kept; ls /tmp; echo x > /tmp/layer; exit 1")
	c.Mounts = []wire.Mount{{Volume: "data", Path: "/data"}}
	v := start(t, dir)
	v.configure(podOf("Never", "app"))
	v.run(c)
	first := v.awaitState("app", wire.ContainerTerminated)
	v.powerOff()

	v = start(t, dir)
	pod := podOf("Never", "app", "done")
	pod.Containers[0] = wire.Seed{Name: "app", RestartCount: 5, Last: first.Current}
	pod.Containers[1] = wire.Seed{Name: "done", Final: true, Last: first.Current}
	v.configure(pod)
	v.run(c)
	second := v.awaitState("app", wire.ContainerTerminated)
	assert.Equal(t, int32(5), second.RestartCount)
	assert.Equal(t, int32(5), second.Current.Attempt)
	assert.Equal(t, first.Current.ID, second.Last.ID)
	assert.Equal(t, "kept\n", v.log("app", 5), "volumes are kept, layers are not")
	assert.Empty(t, v.log("app", 0), "logs are kept")
	done := v.awaitState("done", wire.ContainerTerminated)
	assert.True(t, done.Final)
	v.powerOff()
}
