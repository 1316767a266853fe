package crun

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/guest/oci"
	"github.com/virtual-kubelet/vic/guest/process"
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
		"nothing of what is not JSON":       {"garbage\n", "", "code 1"},
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

func TestASealedProgramRunsAndCannotBeChanged(t *testing.T) {
	sh, err := exec.LookPath("sh")
	require.NoError(t, err)
	sealed, err := seal(sh)
	require.NoError(t, err)
	defer sealed.Close()
	out, err := exec.Command(sealed.Name(), "-c", "readlink /proc/$$/exe").CombinedOutput()
	require.NoError(t, err, string(out))
	require.Equal(t, "/memfd:crun (deleted)\n", string(out))

	set, err := unix.FcntlInt(sealed.Fd(), unix.F_GET_SEALS, 0)
	require.NoError(t, err)
	require.Equal(t, seals, set, "crun compares all of them")
	f, err := os.OpenFile(sealed.Name(), os.O_WRONLY, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.Write([]byte("x"))
	require.ErrorIs(t, err, unix.EPERM)
	require.Error(t, f.Truncate(0))
}

func TestRootOfTheWritableLayerIsLikeTheImages(t *testing.T) {
	image, layer := t.TempDir(), t.TempDir()
	at := []unix.Timespec{unix.NsecToTimespec(1_000_000_007), unix.NsecToTimespec(1_234_567_890_123_456_789)}
	require.NoError(t, unix.Setxattr(image, "user.root", []byte("kept"), 0))
	require.NoError(t, unix.Setxattr(image, "user.empty", nil, 0))
	require.NoError(t, unix.Chown(image, 7, 8))
	require.NoError(t, unix.Chmod(image, 0o3711))
	require.NoError(t, unix.UtimesNanoAt(unix.AT_FDCWD, image, at, 0))
	require.NoError(t, likeImage(image, layer))

	var st unix.Stat_t
	require.NoError(t, unix.Stat(layer, &st))
	require.Equal(t, uint32(unix.S_IFDIR|0o3711), st.Mode)
	require.Equal(t, []uint32{7, 8}, []uint32{st.Uid, st.Gid})
	require.Equal(t, at[1], st.Mtim)
	value, err := readAttribute(func(b []byte) (int, error) { return unix.Getxattr(layer, "user.root", b) })
	require.NoError(t, err)
	require.Equal(t, "kept", string(value))
	value, err = readAttribute(func(b []byte) (int, error) { return unix.Getxattr(layer, "user.empty", b) })
	require.NoError(t, err)
	require.Empty(t, value)
	require.ErrorIs(t, likeImage(filepath.Join(image, "none"), layer), os.ErrNotExist)
}

func TestFailedExitIsAsAShellHasIt(t *testing.T) {
	tests := map[string]struct {
		command, message, says string
		code                   int32
	}{
		"a name that is not in PATH": {"x", "executable file `x` not found in $PATH: No such file or directory", `"x": executable file not found in $PATH`, 127},
		"a path that is not there":   {"/x", "executable file `/x` not found in $PATH: No such file or directory", `"/x": stat /x: no such file or directory`, 127},
		"a file without permission":  {"/x", "open executable: Permission denied", `"/x": permission denied`, 126},
		"a directory":                {"/", "open executable: Operation not permitted", `"/": permission denied`, 126},
		"anything else":              {"x", "cgroup on fire", `"x": cgroup on fire`, 126},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			want := wire.Exit{Code: tt.code, Error: "OCI runtime exec failed: exec failed: unable to start container process: exec: " + tt.says}
			require.Equal(t, want, FailedExit(&execError{tt.command, &runtimeError{message: tt.message}}))
		})
	}
	require.Equal(t, int32(126), FailedExit(ErrBusy).Code)
}

func TestInputIsShared(t *testing.T) {
	tests := map[string]struct {
		once bool
		want string
	}{
		"and the first who ends it ends it, where it comes once": {true, "one two "},
		"and nobody ends it, where it comes again":               {false, "one two three "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r, w, err := os.Pipe()
			require.NoError(t, err)
			ended := make(chan struct{})
			i := newInput(w, tt.once, ended)
			first, second := make(chan struct{}), make(chan struct{})
			for _, part := range []struct {
				text string
				gone chan struct{}
			}{{"one ", first}, {"two ", second}} {
				_, err := i.write([]byte(part.text), part.gone)
				require.NoError(t, err)
			}
			i.end()
			i.end()
			if tt.once {
				<-i.over
			}
			_, err = i.write([]byte("three "), second)
			require.NoError(t, err, "what is over takes everything")
			if !tt.once {
				b := make([]byte, len(tt.want))
				_, err := io.ReadFull(r, b)
				require.NoError(t, err)
				require.Equal(t, tt.want, string(b))
				close(ended)
				<-i.over
				return
			}
			b, err := io.ReadAll(r)
			require.NoError(t, err)
			require.Equal(t, tt.want, string(b))
		})
	}
}

func TestAnAttachedHostCanLeaveAFullInput(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	ended := make(chan struct{})
	i := newInput(w, false, ended)
	gone := make(chan struct{})
	close(gone)
	left := false
	for range 100 { // more than a pipe holds
		if _, err := i.write(make([]byte, 64<<10), gone); err != nil {
			require.ErrorIs(t, err, io.ErrClosedPipe)
			left = true
			break
		}
	}
	require.True(t, left)
	close(ended)
	require.NoError(t, w.Close()) // ends a write that waits
	<-i.over
}

func TestBinds(t *testing.T) {
	dir := t.TempDir()
	volumes := volume.New(volume.Config{Scratch: dir, Memory: dir, MountMemory: func(string, int64) error { return nil }})
	require.NoError(t, volumes.Add(t.Context(), wire.Volume{Name: "data", Kind: wire.VolumeScratch}))
	r := &Runtime{c: Config{
		Volumes: volumes, Binds: []oci.Bind{{Source: "/h", Target: "/etc/hosts"}, {Source: "/r", Target: "/etc/resolv.conf"}},
	}}
	b := &bundle{message: filepath.Join(dir, "message")}

	binds, err := r.binds(wire.Container{
		Mounts:                 []wire.Mount{{Volume: "data", Path: "/etc/hosts/", ReadOnly: true, Options: []string{"nodev"}}},
		TerminationMessagePath: "/dev/termination-log",
	}, b)
	require.NoError(t, err)
	require.Equal(t, []oci.Bind{
		{Source: filepath.Join(dir, "data"), Target: "/etc/hosts/", ReadOnly: true, Options: []string{"nodev"}},
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

// newReaper is one for all tests: there may be one in a program.
var newReaper = sync.OnceValues(process.NewReaper)

func TestAProcessIsAdoptedOnceItsParentHasLeft(t *testing.T) {
	reaper, err := newReaper()
	require.NoError(t, err)
	release := reaper.Hold()
	defer release()
	dir := t.TempDir()
	pidFile, leave, end := filepath.Join(dir, "pid"), filepath.Join(dir, "leave"), filepath.Join(dir, "end")
	require.NoError(t, errors.Join(syscall.Mkfifo(leave, 0o600), syscall.Mkfifo(end, 0o600)))
	// The process writes its pid while its parent is still there.
	script := `(read line < "$2"; exit 7) & echo $! > "$0.new"; mv "$0.new" "$0"; read line < "$1"`
	parent, err := reaper.Start(process.Spec{Args: []string{"/bin/sh", "-c", script, pidFile, leave, end}, Env: os.Environ()})
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := os.Stat(pidFile); return err == nil }, time.Minute, time.Millisecond)
	r := &Runtime{c: Config{Reaper: reaper}}
	adopted := make(chan *process.Process, 1)
	go func() { // ends with the adoption
		p, err := r.adopt(t.Context(), pidFile)
		assert.NoError(t, err)
		adopted <- p
	}()
	require.NoError(t, os.WriteFile(leave, []byte("go\n"), 0o600))
	<-parent.Done()
	p := <-adopted
	require.NoError(t, os.WriteFile(end, []byte("go\n"), 0o600))
	require.Equal(t, int32(7), process.ExitCode(p.Status()))

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.NoError(t, os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getppid())), 0o600))
	_, err = r.adopt(ctx, pidFile)
	require.ErrorIs(t, err, process.ErrNoChild)
}
