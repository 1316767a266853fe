package boot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Paths of the running system.
const (
	CgroupRoot = "/sys/fs/cgroup"
	modulesDir = "/modules"
	newRoot    = "/newroot"
)

// Words on the kernel's command line.
const (
	probeWord = "vic.probe" // asks for nothing but a sign of life
	dialWord  = "vic.dial"  // the guest dials its host, as its boot blob says
)

type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

var mounts = []mount{
	{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=755"},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
	{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=755"},
	{"cgroup2", CgroupRoot, "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
}

// System mounts the kernel's file systems. It must come first in the program.
func System() error {
	if err := moveRoot(); err != nil {
		return err
	}
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil { // as every system has them
			return err
		}
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := os.WriteFile(filepath.Join(CgroupRoot, "cgroup.subtree_control"),
		[]byte("+cpu +memory +pids +io"), 0); err != nil {
		return fmt.Errorf("enable cgroup controllers: %w", err)
	}
	return nil
}

// moveRoot gives "/" a parent mount: pivot_root(2) answers EINVAL while "/" is the kernel's own initramfs.
func moveRoot() error {
	if err := unix.Mount("/", newRoot, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind the root: %w", err)
	}
	if err := unix.Chdir(newRoot); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("move the root: %w", err)
	}
	return unix.Chroot(".")
}

// LoadModules loads the initrd's modules in the order of its list.
func LoadModules() error {
	list, err := os.ReadFile(filepath.Join(modulesDir, "load"))
	if err != nil {
		return err
	}
	for name := range strings.FieldsSeq(string(list)) {
		if err := loadModule(filepath.Join(modulesDir, name)); err != nil {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	// Their memory is worth more than their files: nothing loads them again.
	return os.RemoveAll(modulesDir)
}

func loadModule(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// IsProbe reports whether the kernel's command line only asks for proof that a VM boots at all.
func IsProbe() bool { return hasWord(probeWord) }

// Dials reports whether the hypervisor has no channel for the guest, which dials its host then.
func Dials() bool { return hasWord(dialWord) }

func hasWord(word string) bool {
	b, err := os.ReadFile("/proc/cmdline")
	return err == nil && slices.Contains(strings.Fields(string(b)), word)
}

// PowerOff writes back what is dirty and turns the VM off. It returns only when that fails.
func PowerOff() error {
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
}

// maxFiles is how many files a process may have open; containers get the same from their engines elsewhere.
const maxFiles = 1 << 20

// RaiseLimits sets the limits that this process and all that it starts have, as container engines have them: many open
// files, and as many processes as the pod's cgroup allows. The kernel's own are made for a VM as small as this one.
func RaiseLimits() error {
	for resource, limit := range map[int]uint64{unix.RLIMIT_NOFILE: maxFiles, unix.RLIMIT_NPROC: unix.RLIM_INFINITY} {
		if err := unix.Setrlimit(resource, &unix.Rlimit{Cur: limit, Max: limit}); err != nil {
			return fmt.Errorf("raise limits: %w", err)
		}
	}
	return nil
}
