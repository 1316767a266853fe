//go:build qemu

package guest_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// refuseMkdir is a seccomp filter that lets everything pass but mkdir(2) and mkdirat(2).
const refuseMkdir = `{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"],
	"syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}`

func TestWhatProcessesMayDo(t *testing.T) {
	t.Parallel()
	const status = "grep -E '^(CapBnd|CapEff|NoNewPrivs|Seccomp):' /proc/self/status | tr '\\t' ' '; "
	restricted := sh("restricted", status+"id -u")
	restricted.User = "1000"
	restricted.Security = wire.Security{
		DropCapabilities: []string{"ALL"}, AddCapabilities: []string{"NET_BIND_SERVICE"}, NoNewPrivileges: true,
		Seccomp: json.RawMessage(`{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64"]}`),
	}
	privileged := sh("privileged", status+`mkdir /m && mount -t tmpfs x /m && echo mounted
		echo 1 > /proc/sys/vm/panic_on_oom && echo 0 > /proc/sys/vm/panic_on_oom && echo wrote
		head -c 512 /dev/sda | wc -c; mkdir /sys/fs/cgroup/sub && echo cgroup; test -e /dev/pts/ptmx && echo pts`)
	privileged.Security.Privileged = true
	plain := sh("plain", `mount -t tmpfs x /tmp 2>/dev/null || echo no mount; echo 1 2>/dev/null > /proc/sys/vm/panic_on_oom || echo no sysctl
		test -e /dev/sda || echo no disk; wc -c < /proc/timer_list`)
	unmasked := sh("unmasked", `test $(wc -c < /proc/timer_list) -gt 0 && echo seen`)
	unmasked.Security.UnmaskedProc = true
	fsGroup := sh("fsgroup", `id -G; stat -c '%n %a %g' /data /mem /config /sub; stat -Lc '%n %a %g' /config/key
		touch /data/new /sub/new && stat -c '%n %g' /data/new /sub/new; cat /config/key`)
	fsGroup.User = "1000:1000"
	fsGroup.Mounts = []wire.Mount{
		{Volume: "data", Path: "/data"},
		{Volume: "data", Path: "/sub", SubPath: "deep/er"},
		{Volume: "mem", Path: "/mem"},
		{Volume: "config", Path: "/config", ReadOnly: true},
	}
	mounted := sh("mounted", `cp /bin/busybox /data/busybox && /data/busybox true 2>/dev/null || echo refused
		grep ' /data ' /proc/mounts | grep -o 'nosuid,nodev,noexec'; stat -c '%n %a %u' /own; stat -Lc '%n %a %u' /config/own`)
	mounted.Mounts = []wire.Mount{
		{Volume: "data", Path: "/data", Options: []string{"noexec", "nodev", "nosuid"}},
		{Volume: "own", Path: "/own"},
		{Volume: "config", Path: "/config", ReadOnly: true},
	}
	merged := sh("merged", "id -G")
	merged.User, merged.Security.Groups = "app", []int64{3000}
	strict := sh("strict", "id -G; cat /proc/sys/net/core/somaxconn /proc/sys/kernel/shm_rmid_forced")
	strict.User, strict.Security = "app", wire.Security{Groups: []int64{3000}, OnlyGroups: true}
	unknown := sh("unknown", "true")
	unknown.Security.AddCapabilities = []string{"FLY"}
	filtered := sh("filtered", "mkdir /tmp/x 2>/dev/null || echo refused; trap 'exit 0' TERM; while true; do sleep 0.2; done")
	filtered.Security = wire.Security{Seccomp: json.RawMessage(refuseMkdir), DropCapabilities: []string{"ALL"}}
	containers := []wire.Container{restricted, privileged, plain, unmasked, fsGroup, mounted, merged, strict, unknown, filtered}

	v := start(t, t.TempDir())
	var names []string
	for _, c := range containers {
		names = append(names, c.Name)
	}
	pod := podOf("Never", names...)
	pod.FSGroup = new(int64(4242))
	pod.Volumes = append(pod.Volumes, wire.Volume{Name: "own", Kind: wire.VolumeScratch, Mode: new(uint32(0o1700))})
	pod.Sysctls = []wire.Sysctl{{Name: "net.core.somaxconn", Value: "777"}, {Name: "kernel.shm_rmid_forced", Value: "1"}}
	v.configure(pod)
	v.must("PUT", wire.PathFiles, wire.Files{Volume: "config", Files: []wire.File{
		{Path: "key", Mode: 0o400, Data: []byte("one\n")}, {Path: "own", Mode: 0o400, User: new(int64(1000))},
	}})
	for _, c := range containers {
		v.run(c)
	}
	v.awaitState("filtered", wire.ContainerRunning)
	for _, c := range containers {
		if c.Name != "filtered" {
			v.awaitState(c.Name, wire.ContainerTerminated)
		}
	}
	said := func(name, want string) {
		t.Helper()
		assert.Equal(t, want, v.log(name, 0), name)
	}
	said("restricted", "CapEff: 0000000000000000\nCapBnd: 0000000000000400\nNoNewPrivs: 1\nSeccomp: 2\n1000\n")
	said("privileged", "CapEff: 000001ffffffffff\nCapBnd: 000001ffffffffff\nNoNewPrivs: 0\nSeccomp: 0\n"+
		"mounted\nwrote\n512\ncgroup\npts\n")
	said("plain", "no mount\nno sysctl\nno disk\n0\n")
	said("unmasked", "seen\n")
	said("fsgroup", "1000 4242\n/data 2777 4242\n/mem 2777 4242\n/config 2755 4242\n/sub 2777 4242\n/config/key 440 4242\n"+
		"/data/new 4242\n/sub/new 4242\none\n")
	said("mounted", "refused\nnosuid,nodev,noexec\n/own 3770 0\n/config/own 440 1000\n")
	said("merged", "1000 2000 3000 4242\n")
	said("strict", "1000 3000 4242\n777\n1\n")
	assert.Contains(t, v.awaitState("unknown", wire.ContainerTerminated).Current.Message, `unknown capability "FLY"`)
	assert.Equal(t, "refused\n", v.output("filtered", "mkdir /tmp/x 2>/dev/null || echo refused"), "an exec is filtered too")
	assert.Equal(t, "0000000000000000", strings.TrimSpace(v.output("filtered", "grep CapBnd /proc/self/status | cut -f 2")))
}
