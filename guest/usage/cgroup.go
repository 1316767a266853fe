package usage

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// OfCgroup reads a cgroup of version 2 that has the controllers cpu, memory and pids (kernel documentation,
// admin-guide/cgroup-v2.rst). The file system's answer for one that is gone is returned as it is.
func OfCgroup(dir string) (wire.Usage, error) {
	cpu, err := table(filepath.Join(dir, "cpu.stat"))
	if err != nil {
		return wire.Usage{}, err
	}
	memory, err := table(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return wire.Usage{}, err
	}
	current, err := number(filepath.Join(dir, "memory.current"))
	if err != nil {
		return wire.Usage{}, err
	}
	processes, err := number(filepath.Join(dir, "pids.current"))
	if err != nil {
		return wire.Usage{}, err
	}
	return wire.Usage{
		CPU:         time.Duration(cpu["usage_usec"]) * time.Microsecond,
		MemoryBytes: current,
		// As the kubelet has it: what is left when the pages of files that nobody used lately are dropped.
		WorkingSetBytes: current - min(current, memory["inactive_file"]),
		RSSBytes:        memory["anon"],
		PageFaults:      memory["pgfault"],
		MajorPageFaults: memory["pgmajfault"],
		Processes:       processes,
	}, nil
}

// table reads a file whose lines are a name and a number; other lines are left out.
func table(path string) (map[string]uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	values := map[string]uint64{}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseUint(value, 10, 64); err == nil {
			values[name] = n
		}
	}
	return values, nil
}

// number reads a file that holds one number.
func number(path string) (uint64, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", path, err)
	}
	return n, nil
}
