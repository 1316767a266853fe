package qemu

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

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
