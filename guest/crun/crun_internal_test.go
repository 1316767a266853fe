package crun

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/volume"
	"github.com/virtual-kubelet/vic/guest/wire"
)

func TestExplainTakesWhatCrunLoggedLast(t *testing.T) {
	cause := errors.New("code 1")
	tests := map[string]struct{ log, output, want string }{
		"the last line": {
			`{"msg":"a warning","level":"warning"}` + "\n" + `{"msg":"executable not found","level":"error"}` + "\n", "", "executable not found",
		},
		"its output where the log is empty": {"", " said on stderr\n", "said on stderr"},
		"the cause where there is nothing":  {"", "", "code 1"},
		"at most so much":                   {`{"msg":"` + strings.Repeat("x", 5000) + `"}`, "", strings.Repeat("x", maxMessage)},
		"nothing of what is no JSON":        {"garbage\n", "", "code 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			require.NoError(t, os.WriteFile(log, []byte(tt.log), 0o600))
			err := explain(log, tt.output, cause)
			require.EqualError(t, err, tt.want)
			require.ErrorIs(t, err, cause)
		})
	}
}

func TestFailedExitIsAsAShellHasIt(t *testing.T) {
	for message, code := range map[string]int32{
		"executable file `x` not found in $PATH: No such file or directory": 127,
		"open executable: Permission denied":                                126,
	} {
		require.Equal(t, wire.Exit{Code: code, Error: message}, FailedExit(&runtimeError{message: message}))
	}
	require.Equal(t, int32(126), FailedExit(ErrBusy).Code)
}

func TestBinds(t *testing.T) {
	dir := t.TempDir()
	volumes := volume.New(volume.Config{Scratch: dir, Memory: dir, MountMemory: func(string, int64) error { return nil }})
	require.NoError(t, volumes.Add(wire.Volume{Name: "data", Kind: wire.VolumeScratch}))
	r := New(Config{Volumes: volumes, Binds: []oci.Bind{{Source: "/h", Target: "/etc/hosts"}, {Source: "/r", Target: "/etc/resolv.conf"}}})
	b := &bundle{message: filepath.Join(dir, "message")}

	binds, err := r.binds(wire.Container{
		Mounts:                 []wire.Mount{{Volume: "data", Path: "/etc/hosts/", ReadOnly: true}},
		TerminationMessagePath: "/dev/termination-log",
	}, b)
	require.NoError(t, err)
	require.Equal(t, []oci.Bind{
		{Source: filepath.Join(dir, "data"), Target: "/etc/hosts/", ReadOnly: true},
		{Source: "/r", Target: "/etc/resolv.conf"},
		{Source: b.message, Target: "/dev/termination-log"},
	}, binds, "the container's own mount wins")

	_, err = r.binds(wire.Container{Mounts: []wire.Mount{{Volume: "absent", Path: "/x"}}}, b)
	require.ErrorIs(t, err, volume.ErrNotFound)
	_, err = r.binds(wire.Container{Mounts: []wire.Mount{{Volume: "data", Path: "x"}}}, b)
	require.ErrorIs(t, err, volume.ErrInvalid)
}

func TestBelow(t *testing.T) {
	require.True(t, below("/data/deep", "/data"))
	require.True(t, below("/data", "/data/"))
	require.False(t, below("/database", "/data"))
	require.False(t, below("/", "/data"))
}
