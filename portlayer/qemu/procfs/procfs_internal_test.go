package procfs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestKilobytes(t *testing.T) {
	const file = "MemTotal:       16316412 kB\nMemAvailable:   1024 kB\nBroken: x kB\n"
	assert.Equal(t, int64(16316412<<10), kilobytes(file, "MemTotal:"))
	assert.Equal(t, int64(1<<20), kilobytes(file, "MemAvailable:"))
	assert.Zero(t, kilobytes(file, "Broken:"))
	assert.Zero(t, kilobytes(file, "None:"))
}

func TestTheHostHasProcessIDs(t *testing.T) {
	total, free := ProcessIDs()
	assert.Positive(t, total)
	assert.Positive(t, free)
	assert.Less(t, free, total)
	n, ok := tasks("0.20 0.18 0.12 1/80 11206\n")
	assert.True(t, ok)
	assert.Equal(t, int64(80), n)
	_, ok = tasks("nonsense")
	assert.False(t, ok)
}

func TestCPUTime(t *testing.T) {
	tests := map[string]struct {
		stat string
		want time.Duration
	}{
		"user and kernel mode count":            {"7 (qemu) S 1 7 7 0 -1 64 9 0 0 0 150 50 0 0 20 0 1", 2 * time.Second},
		"a name with spaces and a parenthesis":  {"7 (a) 1 (b) S 1 7 7 0 -1 64 9 0 0 0 1 2 0 0", 30 * time.Millisecond},
		"what is cut off is nothing":            {"7 (qemu) S 1", 0},
		"a process that is gone has no numbers": {"", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { assert.Equal(t, tt.want, parseCPUTime(tt.stat)) })
	}
}
