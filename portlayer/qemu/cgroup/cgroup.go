package cgroup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	root = "/sys/fs/cgroup"
	// Shares of a processor of version 1 and weights of version 2 for a whole processor.
	sharesPerCPU = 1024
	weightPerCPU = 100
)

// Group is what the processes of one VM are put into.
type Group struct {
	// VCH is the directory of the VM's VCH, and UID is the VM's: both name the group.
	VCH, UID string
	// Description is for people who look at systemd's units.
	Description string
	// MemoryBytes is the limit of its memory, 0 for none; CPUMilli is its weight against other VMs of the VCH, in thousandths
	// of a processor. All VMs of a VCH together weigh as much as the host has processors, as all pods of a kubelet do.
	MemoryBytes, CPUMilli int64
}

// setting is one file of a control group.
type setting struct {
	controller, file string
	value            int64
}

// Join puts a process into a systemd unit, or else control groups, of its own, where the host lets us: its memory is then
// bounded and its share of the processors weighed. Without them it runs all the same.
func Join(ctx context.Context, g Group, pid int) {
	if SystemdRuns() {
		err := startUnit(ctx, g, pid)
		if err == nil {
			return
		}
		logging.From(ctx).WarnContext(ctx, "pod VM got no systemd unit", "vm", g.UID, "err", err)
	}
	for _, controller := range controllers() {
		if controller == "memory" && g.MemoryBytes == 0 {
			continue
		}
		dir, v2, err := groupFor(controller, ownGroup(g.VCH, g.UID))
		if err == nil {
			err = joinGroup(dir, settingFor(controller, v2, g), pid)
		}
		if err == nil && controller == "cpu" {
			all := settingFor(controller, v2, Group{CPUMilli: int64(runtime.NumCPU()) * 1000})
			err = all.write(filepath.Dir(dir))
		}
		if err != nil {
			logging.From(ctx).DebugContext(ctx, "control group of a pod VM not set up", "vm", g.UID,
				"controller", controller, "err", err)
		}
	}
}

func settingFor(controller string, v2 bool, g Group) setting {
	switch {
	case controller == "memory" && v2:
		return setting{controller, "memory.max", g.MemoryBytes}
	case controller == "memory":
		return setting{controller, "memory.limit_in_bytes", g.MemoryBytes}
	case v2:
		return setting{controller, "cpu.weight", g.cpuWeight()}
	}
	return setting{controller, "cpu.shares", max(g.CPUMilli*sharesPerCPU/1000, 2)}
}

// cpuWeight is the weight of a VM's processors in control groups of version 2 (cpu.weight, 1 to 10000).
func (g Group) cpuWeight() int64 { return min(max(g.CPUMilli*weightPerCPU/1000, 1), 10000) }

func joinGroup(dir string, s setting, pid int) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if err := s.write(dir); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

func (s setting) write(dir string) error {
	return os.WriteFile(filepath.Join(dir, s.file), []byte(strconv.FormatInt(s.value, 10)), 0)
}

// Of returns the control groups that a VM's process is in and that were made for it, whichever process of ours did
// that.
func Of(pid int, vch, uid string) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil // it is gone already, or there are none
	}
	var dirs []string
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && strings.HasSuffix(parts[2], "/"+ownGroup(vch, uid)) {
			dirs = append(dirs, filepath.Join(root, parts[1], parts[2]))
		}
	}
	return dirs
}

// Release removes the control groups of a process that is gone.
func Release(ctx context.Context, uid string, dirs []string) {
	for _, dir := range dirs {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			logging.From(ctx).DebugContext(ctx, "control group left behind", "vm", uid, "err", err)
		}
		_ = os.Remove(filepath.Dir(dir)) // the VCH's own, when this was its last
	}
}

// Sweep removes the control groups of a VCH that have no process: those of VMs that ended with a process of ours that was
// killed. It finds those that a process in our own group made.
func Sweep(vch string) {
	for _, controller := range controllers() {
		dir, _, err := groupFor(controller, ownGroup(vch, ""))
		if err != nil {
			continue
		}
		groups, _ := os.ReadDir(dir) // there may be none
		for _, g := range groups {
			if g.IsDir() {
				_ = os.Remove(filepath.Join(dir, g.Name())) // fails where a process is in it
			}
		}
		_ = os.Remove(dir) // fails where a group is in it
	}
}

func controllers() []string { return []string{"memory", "cpu"} }

// ownGroup is the name of a VM's group below whatever it is in.
func ownGroup(vch, uid string) string {
	sum := sha256.Sum256([]byte(vch))
	return filepath.Join("vic-"+hex.EncodeToString(sum[:4]), uid)
}

// groupFor names a VM's group. In version 1 it is below our own; in version 2, where a group with processes can have
// no children that are limited, it is beside our own.
func groupFor(controller, own string) (dir string, v2 bool, err error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", false, err
	}
	for line := range strings.Lines(string(b)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) == 3 && parts[1] == controller {
			dir, err = groupBelow(filepath.Join(root, controller, parts[2]), own)
			return dir, false, err
		}
	}
	for line := range strings.Lines(string(b)) {
		if current, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			dir, err = groupBelow(filepath.Join(root, path.Dir(current)), own)
			return dir, true, err
		}
	}
	return "", false, fmt.Errorf("no control groups: %w", fs.ErrNotExist)
}

// groupBelow names a group whose parent is there.
func groupBelow(parent, own string) (string, error) {
	if _, err := os.Stat(filepath.Join(parent, "cgroup.procs")); err != nil {
		return "", err
	}
	return filepath.Join(parent, own), nil
}
