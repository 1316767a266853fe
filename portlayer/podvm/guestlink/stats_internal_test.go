package guestlink

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestStatsOfAHostileGuestAreCutDown(t *testing.T) {
	evil := wire.Usage{CPU: -1, MemoryBytes: math.MaxUint64, WorkingSetBytes: 5, Processes: math.MaxUint64}
	s := wire.Stats{
		Time: time.Unix(0, 0), Pod: evil,
		Containers: []wire.ContainerStats{{Name: "app", Usage: evil}, {Name: "app"}, {Name: "of another pod"}},
		Interfaces: []wire.InterfaceStats{{Name: "eth0", RxBytes: math.MaxUint64}, {Name: "a\nb"}, {Name: strings.Repeat("x", 99)}},
		Scratch:    wire.FilesystemStats{UsedBytes: math.MaxUint64},
	}
	for range 100 {
		s.Interfaces = append(s.Interfaces, wire.InterfaceStats{Name: "eth1"})
	}
	before := time.Now()
	got := checkStats(s, Expect{Containers: []string{"app", "other"}})
	assert.WithinRange(t, got.Time, before, time.Now())
	tame := wire.Usage{MemoryBytes: maxCount, WorkingSetBytes: 5, Processes: maxCount}
	assert.Equal(t, tame, got.Pod)
	assert.Equal(t, []wire.ContainerStats{{Name: "app", Usage: tame}}, got.Containers)
	assert.Len(t, got.Interfaces, maxInterfaces-2)
	assert.Equal(t, wire.InterfaceStats{Name: "eth0", RxBytes: maxCount}, got.Interfaces[0])
	assert.EqualValues(t, maxCount, got.Scratch.UsedBytes)
}
