package cgroup

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestSettingsOfControlGroups(t *testing.T) {
	g := Group{MemoryBytes: 7, CPUMilli: 500}
	assert.Equal(t, setting{"memory", "memory.max", 7}, settingFor("memory", true, g))
	assert.Equal(t, setting{"memory", "memory.limit_in_bytes", 7}, settingFor("memory", false, g))
	assert.Equal(t, setting{"cpu", "cpu.weight", 50}, settingFor("cpu", true, g))
	assert.Equal(t, setting{"cpu", "cpu.shares", 512}, settingFor("cpu", false, g))
	g.CPUMilli = 0
	assert.Equal(t, setting{"cpu", "cpu.weight", 1}, settingFor("cpu", true, g))
}
