package oci_test

import (
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestPauseHasNothingButItsProgram(t *testing.T) {
	s := oci.PauseSpec(oci.Pause{Program: "/init", Name: "/pause", Rootfs: "/r", CgroupPath: "/pause"})
	assert.Equal(t, []string{"/pause"}, s.Process.Args)
	assert.Equal(t, specs.User{UID: 65535, GID: 65535}, s.Process.User)
	assert.Equal(t, &specs.LinuxCapabilities{}, s.Process.Capabilities)
	assert.True(t, s.Process.NoNewPrivileges)
	assert.True(t, s.Root.Readonly)
	assert.Contains(t, s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace})
	require.Len(t, s.Mounts, 3)
	assert.Equal(t, "/init", s.Mounts[2].Source)
}

func TestAContainerJoinsAProcessNamespace(t *testing.T) {
	for _, file := range []string{"", "/proc/7/ns/pid"} {
		s, err := oci.Spec(oci.Config{Container: wire.Container{Args: []string{"x"}}, PIDNamespace: file})
		require.NoError(t, err)
		assert.Contains(t, s.Linux.Namespaces, specs.LinuxNamespace{Type: specs.PIDNamespace, Path: file})
	}
}
