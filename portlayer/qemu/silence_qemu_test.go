//go:build qemu

package qemu_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
)

const otherUID = "6d1f1f3e-0000-4000-8000-000000000002"

// suspend stops a QEMU as a debugger or a loaded machine does; what it returns lets it go on, as does the test's end.
func (h *host) suspend(pid int) (resume func()) {
	h.Helper()
	require.NoError(h, unix.Kill(pid, unix.SIGSTOP))
	resume = func() { _ = unix.Kill(pid, unix.SIGCONT) } // it may have been killed, which is what the test wants
	h.Cleanup(resume)
	return resume
}

// vm returns one VM of several.
func (h *host) vm(uid string) portlayer.VM {
	h.Helper()
	vms, err := h.List(h.ctx)
	require.NoError(h, err)
	for _, vm := range vms {
		if vm.ID() == uid {
			return vm
		}
	}
	require.Fail(h, "VM is not listed", uid)
	return portlayer.VM{}
}

func TestAQEMUThatDoesNotAnswerHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	other := spec()
	other.ID = otherUID
	_, err := h.Create(h.ctx, other)
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(h.ctx, otherUID))
	_, err = h.Create(h.ctx, spec())
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(h.ctx, uid))
	silent := h.vm(otherUID)
	h.Close()
	resume := h.suspend(silent.PID)

	h.open()
	for range 3 {
		assert.Equal(t, portlayer.StateRunning, h.vm(otherUID).State, "it runs, for all that is known")
	}
	assert.Empty(t, h.talk().say("disks 0"), "the other VM is there")

	resume()
	grown := silent.Spec
	grown.Disks = []portlayer.Disk{scratch("late")}
	require.Eventually(t, func() bool {
		_, err = h.Update(h.ctx, grown, silent.Version)
		return err == nil
	}, patience, 100*time.Millisecond, "once it answers it can be changed")
	assert.Equal(t, silent.PID, h.vm(otherUID).PID)
}

func TestAQEMUWhoseQueueIsFullCanStillBeEnded(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec())
	h.Close()
	h.suspend(vm.PID)
	h.fillQueue()
	h.open()
	require.NoError(t, h.PowerOff(h.ctx, uid))
	assert.Equal(t, portlayer.StateStopped, h.get().State)
	assert.NoDirExists(t, fmt.Sprintf("/proc/%d", vm.PID))
}

// fillQueue does what hosts do that die while they wait for a QEMU which takes no connection.
func (h *host) fillQueue() {
	h.Helper()
	socket := h.socket()
	for range 64 {
		conn, err := net.DialUnix("unix", nil, socket)
		if errors.Is(err, unix.EAGAIN) {
			return
		}
		require.NoError(h, err)
		require.NoError(h, conn.Close())
	}
	require.Fail(h, "QEMU's queue has no end")
}

func TestAQEMUThatStoppedForAWhileLosesNoConsole(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec())
	guest := h.talk()
	_, err := h.Console(h.ctx, uid) // the next regular look at the console is a moment away
	require.NoError(t, err)
	require.Equal(t, "shouted", guest.say("shout 0"))
	resume := h.suspend(vm.PID)
	pause := time.NewTimer(7 * time.Second) // longer than several looks wait for an answer
	<-pause.C
	resume()
	require.Eventually(t, func() bool {
		console, err := h.Console(h.ctx, uid)
		require.NoError(t, err)
		return strings.Contains(string(console), "testguest: hoarse")
	}, patience, 100*time.Millisecond)
	assert.Empty(t, guest.say("disks 0"), "the channel stands")
}

func TestAReusedPIDBehindAStaleSocketIsLeftAlone(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec())
	h.Close()
	require.NoError(t, unix.Kill(vm.PID, unix.SIGKILL))
	require.Eventually(t, func() bool { return errors.Is(unix.Kill(vm.PID, 0), unix.ESRCH) }, patience, 10*time.Millisecond)

	bystander := exec.CommandContext(t.Context(), "sleep", "3600")
	require.NoError(t, bystander.Start())
	ended := make(chan error, 1)
	go func() { ended <- bystander.Wait() }() // ends with the test's context
	h.changeRecord(func(r map[string]any) { r["pid"] = bystander.Process.Pid })
	socket := h.socket()
	require.NoError(t, os.Remove(socket.Name))
	l, err := net.ListenUnix("unix", socket) // a process of that socket lives: this one
	require.NoError(t, err)
	defer l.Close()

	h.open()
	assert.Equal(t, "QEMU ended while nobody watched", h.stopped().StopReason)
	require.NoError(t, h.PowerOff(h.ctx, uid))
	require.NoError(t, h.Destroy(h.ctx, uid))
	select {
	case err := <-ended:
		require.Fail(t, "a process that is none of ours was ended", err)
	default:
	}
}

// changeRecord edits vm.json while nobody has the VCH open.
func (h *host) changeRecord(change func(map[string]any)) {
	h.Helper()
	path := filepath.Join(h.config.Dir, "vms", uid, "vm.json")
	b, err := os.ReadFile(path)
	require.NoError(h, err)
	var record map[string]any
	require.NoError(h, json.Unmarshal(b, &record))
	change(record)
	b, err = json.Marshal(record)
	require.NoError(h, err)
	require.NoError(h, os.WriteFile(path, b, 0o600))
}

func TestCloseDoesNotWaitForAQEMUThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	vm := h.start(spec())
	h.Close()
	resume := h.suspend(vm.PID)
	var log bytes.Buffer
	former := h.ctx
	h.ctx = logging.Into(former, slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	h.open()
	h.Close()
	assert.Contains(t, log.String(), "pod VM not taken over", "it is called off")
	h.ctx = former
	resume()
	h.open()
	ctx, cancel := context.WithTimeout(h.ctx, patience)
	defer cancel()
	require.NoError(t, h.PowerOff(ctx, uid))
	assert.Empty(t, h.get().StopReason)
}
