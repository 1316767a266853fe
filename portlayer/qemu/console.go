package qemu

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

const (
	// consoleKept is how much of a console is shown. Two files of half as much keep at least half of it.
	consoleKept   = 1 << 20
	consoleHalf   = consoleKept / 2
	consoleFormer = consoleFile + ".1"
	// drainTimeout is short: a QEMU that does not answer is about to be killed, or read again soon.
	drainTimeout = 2 * time.Second
)

// Console returns what is kept of the VM's console.
func (h *Hypervisor) Console(ctx context.Context, uid string) ([]byte, error) {
	v, err := h.find(uid)
	if err != nil {
		return nil, fmt.Errorf("console of VM %s: %w", uid, err)
	}
	if _, p := v.current(); p != nil {
		h.drain(ctx, v, p)
	}
	tail, err := v.consoleTail()
	if err != nil {
		return nil, fmt.Errorf("console of VM %s: %w", uid, err)
	}
	return tail, nil
}

// consoleTail is what the console's files hold.
func (v *podVM) consoleTail() ([]byte, error) {
	var tail []byte
	for _, name := range []string{consoleFormer, consoleFile} {
		b, err := os.ReadFile(v.path(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		tail = append(tail, b...)
	}
	return tail[max(0, len(tail)-consoleKept):], nil
}

// drain moves the console from QEMU's ring to the VM's files, and waits for that until ctx or drainTimeout ends. A read that
// QEMU has not answered by then stays asked, and no other is asked beside it: what a read returns is no more in the ring.
func (h *Hypervisor) drain(ctx context.Context, v *podVM, p *process) {
	if p.control() == nil {
		return
	}
	waiting, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	unlock, err := h.consoles.Take(waiting, v.uid)
	if err != nil {
		return // one is asked
	}
	done := make(chan struct{})
	// Ends when QEMU answers or ends, or when p is released.
	h.tending.Go(func() {
		defer close(done)
		defer unlock()
		ctx := context.WithoutCancel(ctx)
		if err := v.drain(ctx, p); err != nil && !errors.Is(err, qmp.ErrClosed) {
			logging.From(ctx).WarnContext(ctx, "console not saved", "vm", v.uid, "err", err)
		}
	})
	select {
	case <-done:
	case <-waiting.Done():
	}
}

func (v *podVM) drain(ctx context.Context, p *process) error {
	read := qmp.Command{Name: "ringbuf-read", Args: map[string]any{
		"device": consoleRing, "size": consoleRingBytes, "format": "base64",
	}}
	var encoded string
	if err := p.execute(ctx, read, &encoded); err != nil {
		return err
	}
	b, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(b) == 0 {
		return err
	}
	return v.appendConsole(b)
}

// appendConsole keeps two files of at most half of what is shown.
func (v *podVM) appendConsole(b []byte) error {
	b = b[max(0, len(b)-consoleHalf):]
	info, err := os.Stat(v.path(consoleFile))
	if err == nil && info.Size()+int64(len(b)) > consoleHalf {
		if err := os.Rename(v.path(consoleFile), v.path(consoleFormer)); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(v.path(consoleFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
