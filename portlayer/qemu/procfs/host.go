package procfs

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

// Memory is what the host has, in bytes: in all, and what can be taken of it without swapping.
func Memory() (total, available int64, err error) {
	b, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, err
	}
	total, available = kilobytes(string(b), "MemTotal:"), kilobytes(string(b), "MemAvailable:")
	if total == 0 {
		return 0, 0, errors.New("/proc/meminfo has no MemTotal")
	}
	return total, available, nil
}

// ProcessIDs are how many the host has, and how many are not in use: tasks have them, of which proc_loadavg(5) has the
// number. Both are 0 where /proc does not say.
func ProcessIDs() (total, free int64) {
	for _, path := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
		text, err := os.ReadFile(path)
		if err != nil {
			return 0, 0
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return 0, 0
		}
		if total == 0 || limit < total {
			total = limit
		}
	}
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, 0
	}
	used, ok := tasks(string(text))
	if !ok {
		return 0, 0
	}
	return total, max(0, total-used)
}

// tasks reads the number behind the slash of "0.20 0.18 0.12 1/80 11206".
func tasks(loadavg string) (int64, bool) {
	_, rest, ok := strings.Cut(loadavg, "/")
	count, _, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseInt(count, 10, 64)
	return n, ok && err == nil
}

// kilobytes reads a line such as "MemTotal:  16316412 kB" of a file of /proc, in bytes.
func kilobytes(file, key string) int64 {
	for line := range strings.Lines(file) {
		value, ok := strings.CutPrefix(line, key)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0
		}
		return n << 10
	}
	return 0
}
