package guestlink

import (
	"math"
	"regexp"
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
)

const (
	// maxCount bounds every number: those who read them count in signed and in floating-point numbers.
	maxCount = math.MaxInt64 >> 1
	// maxInterfaces is how many network interfaces of a guest are reported.
	maxInterfaces = 16
	// maxStatsAge is how far a guest's clock may be away before ours is taken.
	maxStatsAge = time.Minute
)

// interfaceForm is what the kernel takes for a name, and fit to be a label.
var interfaceForm = regexp.MustCompile(`^[0-9A-Za-z_.@-]{1,15}$`)

// checkStats leaves of s what a guest of ours could say: each of the VM's own containers once, and numbers within bounds.
func checkStats(s wire.Stats, expect Expect) wire.Stats {
	if age := time.Since(s.Time); age > maxStatsAge || age < -maxStatsAge {
		s.Time = time.Now()
	}
	s.Pod = checkUsage(s.Pod)
	var containers []wire.ContainerStats
	for _, c := range s.Containers {
		seen := slices.ContainsFunc(containers, func(o wire.ContainerStats) bool { return o.Name == c.Name })
		if !seen && slices.Contains(expect.Containers, c.Name) {
			containers = append(containers, wire.ContainerStats{Name: c.Name, Usage: checkUsage(c.Usage)})
		}
	}
	s.Containers = containers
	s.Interfaces = checkInterfaces(s.Interfaces)
	for _, n := range []*uint64{
		&s.Scratch.CapacityBytes, &s.Scratch.AvailableBytes, &s.Scratch.UsedBytes, &s.Scratch.Inodes, &s.Scratch.InodesFree,
	} {
		*n = min(*n, maxCount)
	}
	return s
}

func checkUsage(u wire.Usage) wire.Usage {
	u.CPU = max(u.CPU, 0)
	for _, n := range []*uint64{
		&u.MemoryBytes, &u.WorkingSetBytes, &u.RSSBytes, &u.PageFaults, &u.MajorPageFaults, &u.Processes,
	} {
		*n = min(*n, maxCount)
	}
	return u
}

func checkInterfaces(all []wire.InterfaceStats) []wire.InterfaceStats {
	var kept []wire.InterfaceStats
	for _, i := range all[:min(len(all), maxInterfaces)] {
		if !interfaceForm.MatchString(i.Name) {
			continue
		}
		for _, n := range []*uint64{&i.RxBytes, &i.TxBytes, &i.RxErrors, &i.TxErrors} {
			*n = min(*n, maxCount)
		}
		kept = append(kept, i)
	}
	return kept
}
