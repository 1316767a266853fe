package oci

import (
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	ociVersion  = "1.0.2"
	defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	cpuPeriod   = 100_000 // microseconds, as the kubelet has it
	minShares   = 2
	maxFiles    = 1 << 20 // as container engines have it
)

var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
	"/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
}

var readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

var (
	procMount = specs.Mount{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}}
	devMount  = specs.Mount{
		Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"},
	}
)

// systemMounts are the kernel's file systems in a container. /dev/shm comes from the pod, see Config.Binds.
var systemMounts = []specs.Mount{
	procMount,
	devMount,
	{
		Destination: "/dev/pts", Type: "devpts", Source: "devpts",
		Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"},
	},
	{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
	{
		Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup",
		Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"},
	},
}

// Config is what a spec is made of.
type Config struct {
	Container wire.Container
	User      specs.User
	// Rootfs is the container's root in the guest, CgroupPath its cgroup below the root of all.
	Rootfs, CgroupPath string
	Hostname           string
	// PIDNamespace is a file of the process namespace to join; empty is one of the container's own.
	PIDNamespace string
	// Devices are what a privileged container has.
	Devices []specs.LinuxDevice
	// Volumes are devices that any container has, and OnlyRead the paths of those that only a privileged one can write.
	Volumes  []specs.LinuxDevice
	OnlyRead map[string]bool
	// Binds are put into the container after the kernel's file systems, in the order of their depth.
	Binds []Bind
}

// Bind puts a file or directory of the guest into the container.
type Bind struct {
	Source, Target string
	ReadOnly       bool
	// Options are mount options beside that one.
	Options []string
}

// Spec makes the runtime's config.json. Network, IPC and host name are the VM's: the VM is the pod.
func Spec(c Config) (*specs.Spec, error) {
	process, err := Process(c.Container, c.User, c.Hostname)
	if err != nil {
		return nil, err
	}
	filter, err := seccomp(c.Container.Security)
	if err != nil {
		return nil, err
	}
	security := c.Container.Security
	spec := &specs.Spec{
		Version: ociVersion,
		Process: process,
		Root:    &specs.Root{Path: c.Rootfs, Readonly: c.Container.ReadOnlyRoot},
		Mounts:  mounts(c.Binds, security.Privileged),
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace, Path: c.PIDNamespace}, {Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
			},
			CgroupsPath:       c.CgroupPath,
			Resources:         resources(c.Container.Resources),
			RootfsPropagation: "rprivate",
			Seccomp:           filter,
		},
	}
	spec.Linux.Devices = c.Volumes
	spec.Linux.Resources.Devices = append(spec.Linux.Resources.Devices, allow(c.Volumes, c.OnlyRead)...)
	if security.Privileged {
		spec.Linux.Devices = slices.Concat(c.Devices, c.Volumes)
		spec.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}
	}
	if !security.Privileged && !security.UnmaskedProc {
		spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths = maskedPaths, readonlyPaths
	}
	return spec, nil
}

// Process describes the container's own process.
func Process(c wire.Container, user specs.User, hostname string) (*specs.Process, error) {
	granted, err := capabilities(c.Security)
	if err != nil {
		return nil, err
	}
	score := 0
	cwd := c.WorkingDir
	if cwd == "" {
		cwd = "/"
	}
	return &specs.Process{
		Terminal:        c.TTY,
		User:            user,
		Args:            c.Args,
		Env:             environment(c, hostname, c.TTY),
		Cwd:             path.Clean("/" + cwd),
		Capabilities:    &specs.LinuxCapabilities{Bounding: granted, Effective: granted, Permitted: granted},
		NoNewPrivileges: c.Security.NoNewPrivileges,
		OOMScoreAdj:     &score,
		Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: maxFiles, Hard: maxFiles}},
	}, nil
}

// ExecProcess describes another process in the container.
func ExecProcess(c wire.Container, user specs.User, hostname string, e wire.Exec) (*specs.Process, error) {
	p, err := Process(c, user, hostname)
	if err != nil {
		return nil, err
	}
	p.Terminal, p.Args, p.Env = e.TTY, e.Args, environment(c, hostname, e.TTY)
	if e.TTY && e.Size.Columns > 0 && e.Size.Rows > 0 {
		p.ConsoleSize = &specs.Box{Width: uint(e.Size.Columns), Height: uint(e.Size.Rows)}
	}
	return p, nil
}

// environment puts the runtime's own variables before the container's, which win.
func environment(c wire.Container, hostname string, tty bool) []string {
	defaults := []string{defaultPath, "HOSTNAME=" + hostname}
	if tty {
		defaults = append(defaults, "TERM=xterm")
	}
	var env []string
	for _, d := range defaults {
		name, _, _ := strings.Cut(d, "=")
		if !slices.ContainsFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, name+"=") }) {
			env = append(env, d)
		}
	}
	return append(env, c.Env...)
}

func mounts(binds []Bind, privileged bool) []specs.Mount {
	m := slices.Clone(systemMounts)
	for i := range m {
		if privileged {
			m[i].Options = slices.DeleteFunc(slices.Clone(m[i].Options), func(o string) bool { return o == "ro" })
		}
	}
	binds = slices.Clone(binds)
	slices.SortStableFunc(binds, func(a, b Bind) int { return depth(a.Target) - depth(b.Target) })
	for _, b := range binds {
		mode := "rw"
		if b.ReadOnly {
			mode = "ro"
		}
		m = append(m, specs.Mount{
			Destination: path.Clean("/" + b.Target), Type: "bind", Source: b.Source,
			Options: append([]string{"rbind", "rprivate", mode}, b.Options...),
		})
	}
	return m
}

func depth(p string) int { return strings.Count(path.Clean("/"+p), "/") }

func resources(r wire.Resources) *specs.LinuxResources {
	res := &specs.LinuxResources{
		Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}, // the runtime adds the usual ones
		// As the kubelet has it: a container that runs out of memory dies as a whole.
		Unified: map[string]string{"memory.oom.group": "1"},
		CPU:     &specs.LinuxCPU{},
	}
	if r.MemoryBytes > 0 {
		res.Memory = &specs.LinuxMemory{Limit: &r.MemoryBytes}
	}
	if r.CPUMilli > 0 {
		period, quota := uint64(cpuPeriod), max(r.CPUMilli*cpuPeriod/1000, 1000)
		res.CPU.Period, res.CPU.Quota = &period, &quota
	}
	shares := uint64(max(r.CPURequestMilli*1024/1000, minShares)) // the runtime turns shares into a weight
	res.CPU.Shares = &shares
	return res
}
