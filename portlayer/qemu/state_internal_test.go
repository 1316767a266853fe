package qemu

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

func TestRecordShowsTheVM(t *testing.T) {
	on := &record{StartedAt: time.Now(), StopReason: "an earlier one", Version: 3}
	assert.Equal(t, portlayer.StateRunning, on.vm(true, 7).State)
	assert.Equal(t, 7, on.vm(true, 7).PID)
	assert.Empty(t, on.vm(true, 7).StopReason)
	assert.Equal(t, portlayer.StateStopped, on.vm(false, 0).State)
	assert.Equal(t, "an earlier one", on.vm(false, 0).StopReason)
	assert.Equal(t, portlayer.StateCreated, (&record{}).vm(false, 0).State)
}

func TestUUIDsDifferByVCHAndPod(t *testing.T) {
	assert.Equal(t, "6c0748cb-17d0-5372-b7b1-1bcbdbbbf9fa", vmUUID("/a", "x"), "it never changes, or no VM is found again")
	assert.NotEqual(t, vmUUID("/a", "x"), vmUUID("/b", "x"))
	assert.NotEqual(t, vmUUID("/a", "x"), vmUUID("/a", "y"))
}

func TestARecordOfAnotherVMIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "uid-1")
	require.NoError(t, os.Mkdir(dir, 0o700))
	r := &record{Format: portlayer.Format, Spec: portlayer.Spec{ID: "uid-2", Owner: portlayer.Owner{Kind: "Pod", UID: "uid-2"}}}
	require.NoError(t, writeJSON(filepath.Join(dir, recordFile), r))
	_, err := readRecord(dir)
	require.ErrorContains(t, err, `"uid-2"`)
	require.NoError(t, os.WriteFile(filepath.Join(dir, recordFile), []byte("{"), 0o600))
	_, err = readRecord(dir)
	require.ErrorContains(t, err, recordFile)
	require.NoError(t, os.RemoveAll(dir))
	_, err = readRecord(dir)
	require.ErrorIs(t, err, portlayer.ErrNotFound)
}

func TestSweepLeavesWhatIsBeingMade(t *testing.T) {
	l := layout(t.TempDir())
	require.NoError(t, l.prepare())
	busy := filepath.Join(l.vms(), newPrefix+"busy")
	require.NoError(t, os.Mkdir(busy, 0o700))
	held, err := filelock.Try(filepath.Join(busy, lockFile))
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, os.Mkdir(filepath.Join(l.vms(), newPrefix+"dead"), 0o700))
	require.NoError(t, os.Mkdir(l.vm("uid-1"), 0o700))
	half := filepath.Join(l.vm("uid-1"), ".tmp-1")
	require.NoError(t, os.WriteFile(half, []byte("{"), 0o600))
	require.NoError(t, l.sweep())
	assert.NoFileExists(t, half)
	assert.DirExists(t, busy)
	assert.NoDirExists(t, filepath.Join(l.vms(), newPrefix+"dead"))
	uids, err := l.uids()
	require.NoError(t, err)
	assert.Equal(t, []string{"uid-1"}, uids)
}

func TestSpaceErrors(t *testing.T) {
	for _, full := range []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		err := spaceError(&os.PathError{Op: "write", Path: "f", Err: full})
		require.ErrorIs(t, err, portlayer.ErrOutOfSpace)
		require.ErrorIs(t, err, full)
	}
	require.NotErrorIs(t, spaceError(unix.EIO), portlayer.ErrOutOfSpace)
	require.NoError(t, spaceError(nil))
}

func TestWhatQEMUSaysBecomesAReason(t *testing.T) {
	tests := map[string]struct {
		events    []qmp.Event
		commanded bool
		console   string
		want      string
	}{
		"a power-off by the guest": {
			events: []qmp.Event{{Name: "SHUTDOWN", Data: []byte(`{"guest":true,"reason":"guest-shutdown"}`)}},
			want:   "the guest powered off",
		},
		"the first cause counts": {
			events: []qmp.Event{
				{Name: "GUEST_PANICKED", Data: []byte(`{"action":"pause"}`)},
				{Name: "SHUTDOWN", Data: []byte(`{"guest":true,"reason":"guest-reset"}`)},
			},
			want: "the guest's kernel panicked",
		},
		"a panic's own words": {
			events:  []qmp.Event{{Name: "SHUTDOWN", Data: []byte(`{"guest":true,"reason":"guest-reset"}`)}},
			console: "[ 1.0] Kernel panic - not syncing: no init\x1b[0m found\r\nmore",
			want:    "the guest's kernel panicked: no init[0m found",
		},
		"our own quit is not a reason": {
			events:    []qmp.Event{{Name: "SHUTDOWN", Data: []byte(`{"guest":false,"reason":"host-qmp-quit"}`)}},
			commanded: true,
		},
		"what is not an event of ours": {
			events: []qmp.Event{{Name: "NIC_RX_FILTER_CHANGED"}, {Name: "SHUTDOWN", Data: []byte(`[]`)}},
			want:   "QEMU ended",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := &process{halted: make(chan struct{}, 1), status: "QEMU ended", deleted: map[string]chan struct{}{}}
			if tt.commanded {
				p.command()
			}
			for _, e := range tt.events {
				p.onEvent(e)
			}
			p.explain([]byte(tt.console))
			assert.Equal(t, tt.want, p.stopReason())
		})
	}
}

func TestAPauseForWantOfSpaceIsSeen(t *testing.T) {
	p := &process{deleted: map[string]chan struct{}{}}
	p.onEvent(qmp.Event{Name: "BLOCK_IO_ERROR", Data: []byte(`{"nospace":true,"action":"stop","device":""}`)})
	assert.True(t, p.isPaused())
	p.onEvent(qmp.Event{Name: "RESUME"})
	assert.False(t, p.isPaused())
	p.onEvent(qmp.Event{Name: "BLOCK_IO_ERROR", Data: []byte(`{"nospace":false,"action":"report","device":""}`)})
	assert.False(t, p.isPaused())
}

func TestADeletedDeviceWakesWhoWaits(t *testing.T) {
	p := &process{deleted: map[string]chan struct{}{}}
	waiting := p.awaitDeletion("disk-1")
	p.onEvent(qmp.Event{Name: "DEVICE_DELETED", Data: []byte(`{"device":"disk-2"}`)})
	select {
	case <-waiting:
		require.Fail(t, "another device went")
	default:
	}
	p.onEvent(qmp.Event{Name: "DEVICE_DELETED", Data: []byte(`{"device":"disk-1"}`)})
	<-waiting
}

func TestComplaintIsShortAndPrintable(t *testing.T) {
	r, w, err := os.Pipe()
	require.NoError(t, err)
	c := listen(r)
	_, err = io.WriteString(w, "qemu-system-x86_64: warning: host lacks x\nqemu-system-x86_64: -device y: \x1b[1mno\xff such\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	assert.Equal(t, "-device y: [1mno such", c.reason())

	r, w, err = os.Pipe()
	require.NoError(t, err)
	c = listen(r)
	_, err = io.WriteString(w, strings.Repeat("long ", 5000)+"end\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	reason := c.reason()
	assert.LessOrEqual(t, len(reason), maxComplaint)
	assert.True(t, strings.HasSuffix(reason, "end"))
}

func TestParseAccel(t *testing.T) {
	for _, good := range []Accel{AccelAuto, AccelKVM, AccelTCG} {
		got, err := ParseAccel(string(good))
		require.NoError(t, err)
		assert.Equal(t, good, got)
	}
	_, err := ParseAccel("hax")
	require.ErrorContains(t, err, `"hax" is not one of auto, kvm, tcg`)
}

func TestOnlyTheHolderOfTheAliveFileIsTheVMs(t *testing.T) {
	v := &podVM{uid: "uid-1", dir: t.TempDir()}
	alive, err := filelock.Try(v.path(aliveFile))
	require.NoError(t, err)
	defer alive.Close()
	require.NoError(t, recognise(v, os.Getpid()))
	bystander := exec.CommandContext(t.Context(), "sleep", "3600")
	require.NoError(t, bystander.Start())
	require.ErrorIs(t, recognise(v, bystander.Process.Pid), portlayer.ErrBusy)
	require.NoError(t, bystander.Process.Kill())
	require.Error(t, bystander.Wait())
	require.ErrorIs(t, recognise(v, bystander.Process.Pid), portlayer.ErrBusy)
}

func TestAPowerOffThatFailedExcusesNoLaterCrash(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "3600")
	require.NoError(t, child.Start())
	p, err := newProcess(child.Process.Pid)
	require.NoError(t, err)
	p.child, p.words = child, listen(emptyPipe(t))
	require.NoError(t, p.pidfd.Close()) // nothing can be signalled by it
	h := newHypervisor(Config{Dir: t.TempDir()})
	v := &podVM{uid: "uid-1", proc: p}
	require.Error(t, h.powerOff(t.Context(), v))
	require.NoError(t, child.Process.Kill())
	p.reap()
	assert.Equal(t, "QEMU was killed by signal 9 (killed)", p.stopReason())
}

func TestAPowerOffThatWasNotAwaitedIsStillOurs(t *testing.T) {
	child := exec.CommandContext(t.Context(), "sleep", "3600")
	require.NoError(t, child.Start())
	p, err := newProcess(child.Process.Pid)
	require.NoError(t, err)
	p.child, p.words = child, listen(emptyPipe(t))
	h := newHypervisor(Config{Dir: t.TempDir()})
	v := &podVM{uid: "uid-1", proc: p}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, h.powerOff(ctx, v), context.Canceled)
	p.reap()
	assert.Empty(t, p.stopReason(), "the signal that ended it was sent")
}

// emptyPipe is the standard error of a QEMU that said nothing.
func emptyPipe(t *testing.T) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return r
}
