package qemu

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

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

func TestCPUTimeNeverGoesBack(t *testing.T) {
	h := newHypervisor(Config{})
	v := &podVM{uid: "uid-1", proc: &process{pid: os.Getpid()}}
	h.vms["uid-1"] = v
	first, memory := h.used()
	assert.Positive(t, memory)
	h.spent["uid-1"] = spent{pid: os.Getpid() + 1, cpu: time.Hour}
	second, _ := h.used()
	assert.GreaterOrEqual(t, second, first, "another process begins anew")
	delete(h.vms, "uid-1")
	third, memory := h.used()
	assert.Equal(t, second, third, "what an ended VM used still counts")
	assert.Zero(t, memory)
}
