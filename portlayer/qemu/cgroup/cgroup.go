package cgroup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/virtual-kubelet/vic/internal/logging"
)

const (
	// Shares of a processor of version 1 and weights of version 2 for a whole processor.
	sharesPerCPU = 1024
	weightPerCPU = 100
	// unlimited is more than any limit of memory; version 1 has a number like that where there is none.
	unlimited = 1 << 60
)

// Group is what the processes of one VM are put into.
type Group struct {
	// VCH is the directory of the VM's VCH, and UID is the VM's: both name the group.
	VCH, UID string
	// Description is for people who look at systemd's units.
	Description string
	// MemoryBytes is the limit of its memory, of which none is swapped, 0 for none; CPUMilli is its weight against other VMs
	// of the VCH, in thousandths of a processor. All VMs of a VCH together weigh as much as the host has processors, as all
	// pods of a kubelet do. Tasks is how many threads it may have, 0 for any number.
	MemoryBytes, CPUMilli, Tasks int64
}

// allVMs weighs what all VMs of a host do.
func allVMs() Group { return Group{CPUMilli: int64(runtime.NumCPU()) * 1000} }

// Join puts a process into a systemd unit, or else control groups, of its own, where the host lets us: its memory and the number
// of its threads are then bounded and its share of the processors weighed. The process runs also where that fails; the
// error says what it lacks.
func Join(ctx context.Context, g Group, pid int) error {
	if SystemdRuns() {
		err := startUnit(ctx, g, pid)
		if err == nil {
			return nil
		}
		logging.From(ctx).WarnContext(ctx, "pod VM got no systemd unit", "vm", g.UID, "err", err)
	}
	t, err := hostTree()
	if err != nil {
		return err
	}
	return t.join(g, pid)
}

// setting is one file of a control group.
type setting struct {
	file  string
	value int64
	// optional is what not every kernel has.
	optional bool
}

// settings are what a controller is told of a group; none where it has nothing to do.
func (g Group) settings(controller string, v2 bool) []setting {
	switch {
	case controller == "memory" && g.MemoryBytes == 0, controller == "pids" && g.Tasks == 0:
		return nil
	case controller == "memory" && v2:
		return []setting{{file: "memory.max", value: g.MemoryBytes}, {file: "memory.swap.max", optional: true}}
	case controller == "memory":
		// The second is of memory and swap together.
		return []setting{
			{file: "memory.limit_in_bytes", value: g.MemoryBytes},
			{file: "memory.memsw.limit_in_bytes", value: g.MemoryBytes, optional: true},
		}
	case controller == "pids":
		return []setting{{file: "pids.max", value: g.Tasks}}
	case v2:
		return []setting{{file: "cpu.weight", value: g.cpuWeight()}}
	}
	return []setting{{file: "cpu.shares", value: max(g.CPUMilli*sharesPerCPU/1000, 2)}}
}

// cpuWeight is the weight of a VM's processors in control groups of version 2 (cpu.weight, 1 to 10000).
func (g Group) cpuWeight() int64 { return min(max(g.CPUMilli*weightPerCPU/1000, 1), 10000) }

// Bounded reports whether the memory of a VM's process is bounded by a unit or group that was made for it.
func Bounded(pid int, vch, uid string) bool {
	t, err := hostTree()
	if err != nil {
		return false
	}
	of, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	return err == nil && t.bounds(string(of), ownGroup(vch, uid), unitName(Group{VCH: vch, UID: uid}, pid))
}

// Of returns the control groups that a VM's process is in and that were made for it, whichever process of ours did
// that.
func Of(pid int, vch, uid string) []string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil // it is gone already, or there are none
	}
	var dirs []string
	for _, in := range parse(string(b)) {
		if strings.HasSuffix(in.path, "/"+ownGroup(vch, uid)) {
			dirs = append(dirs, filepath.Join(root, in.mount, in.path))
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

// Sweep removes the control groups of a VCH that have no process, whoever made them: those of VMs that ended with a process of
// ours that was killed.
func Sweep(vch string) { sweep(root, ownGroup(vch, "")) }

// ownGroup is the name of a VM's group below whatever it is in.
func ownGroup(vch, uid string) string {
	sum := sha256.Sum256([]byte(vch))
	return filepath.Join("vic-"+hex.EncodeToString(sum[:4]), uid)
}

// limited reports whether a file has a limit of memory.
func limited(file string) bool {
	text, err := os.ReadFile(file)
	if err != nil {
		return false
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64) // "max" is none
	return err == nil && n < unlimited
}
