package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/persona"
)

func TestTheArchiveCanBeImported(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hello.tar")
	cmd := newCommand()
	cmd.SetArgs([]string{"--server", os.Args[0], "-o", path})
	require.NoError(t, cmd.ExecuteContext(t.Context()))

	s, err := persona.Open(persona.Config{Dir: t.TempDir(), Platform: "linux/amd64"})
	require.NoError(t, err)
	img, err := s.Import(t.Context(), path, "")
	require.NoError(t, err)
	require.Equal(t, []string{"hello:latest"}, img.Names)
	require.Equal(t, []string{"/bin/hello"}, img.Config.Entrypoint)
	require.Equal(t, []string{"8080/tcp"}, img.Config.ExposedPorts)
}

func TestWrongUsageDiffersFromFailure(t *testing.T) {
	tests := map[string]struct {
		args   []string
		misuse bool
	}{
		"no server":         {[]string{"-o", "x"}, true},
		"no output":         {[]string{"--server", "x"}, true},
		"an unknown flag":   {[]string{"--nothing"}, true},
		"an argument":       {[]string{"x"}, true},
		"a missing busybox": {[]string{"--server", "x", "-o", "x", "--busybox", "/nowhere"}, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cmd := newCommand()
			cmd.SetArgs(tt.args)
			err := cmd.ExecuteContext(t.Context())
			require.Error(t, err)
			require.Equal(t, tt.misuse, isUsage(err))
		})
	}
}
