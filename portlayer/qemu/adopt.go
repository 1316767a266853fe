package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

// claim takes a VM's lock and finds out what it does. The caller has the VM's turn. ErrBusy, ErrNotFound.
func (h *Hypervisor) claim(ctx context.Context, v *podVM) error {
	if _, err := os.Stat(v.path(recordFile)); errors.Is(err, fs.ErrNotExist) {
		h.forget(v)
		return portlayer.ErrNotFound
	}
	held, err := lock(v.path(lockFile))
	if errors.Is(err, errLocked) {
		return fmt.Errorf("another process holds it: %w", portlayer.ErrBusy)
	}
	if err != nil {
		return err
	}
	r, err := readRecord(v.dir)
	if err != nil {
		return errors.Join(err, held.Close())
	}
	v.mu.Lock()
	v.record = r
	v.mu.Unlock()
	p, err := h.adopt(ctx, v, r)
	if err == nil && p == nil && r.On {
		err = errors.Join(v.noteDeath(ctx, r), h.detach(ctx, v))
	}
	if err == nil && p != nil {
		err = v.run(p, func(r *record) {
			r.On, r.PID, r.BootID, r.StopReason = true, p.pid, bootID(), ""
			r.Groups = p.groups
			if r.StartedAt.IsZero() { // the process before us crashed before it could say so
				r.StartedAt = time.Now().UTC()
			}
		})
	}
	if err != nil {
		if p != nil {
			p.release()
		}
		return errors.Join(err, held.Close())
	}
	v.mu.Lock()
	v.held = held
	v.mu.Unlock()
	if p != nil {
		h.tend(ctx, v, p)
	}
	return nil
}

// adopt returns the VM's process; nil where there is none.
//
// A QEMU that has just been started may not listen yet, one that ends does no more: while it lives, it is asked again.
func (h *Hypervisor) adopt(ctx context.Context, v *podVM, r *record) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, qmp.HandshakeTimeout)
	defer cancel()
	ticker := time.NewTicker(connectStep)
	defer ticker.Stop()
	for {
		alive, err := isLocked(v.path(aliveFile))
		if err != nil || !alive {
			return nil, err
		}
		p, err := h.meet(ctx, v, r)
		if !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, qmp.ErrClosed) &&
			!errors.Is(err, unix.ESRCH) {
			return p, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("its QEMU lives and does not listen: %w: %w", portlayer.ErrBusy, err)
		}
	}
}

// meet connects to a QEMU that lives, and checks whose it is.
func (h *Hypervisor) meet(ctx context.Context, v *podVM, r *record) (*process, error) {
	conn, err := dialSocket(ctx, v.dir, qmpSocket)
	if err != nil {
		return nil, err
	}
	pid, err := peerPID(conn)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	p, err := newProcess(pid)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	// The answer comes over a socket that the process of that id listens on, after its pidfd was opened: it is the one.
	err = p.handshake(ctx, func() (*qmp.Client, error) { return qmp.New(ctx, conn, p.onEvent) }, r.UUID)
	if err == nil {
		err = p.catchUp(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		// It is there and wedged. It can be watched and killed, which is all that is left to do with it.
		logging.From(ctx).WarnContext(ctx, "QEMU does not answer", "vm", v.uid, "err", err)
		err = nil
	}
	if err != nil {
		p.release()
		return nil, err
	}
	p.groups = groupsOf(p.pid, h.layout, v.uid)
	h.tending.Go(p.await)
	return p, nil
}

// catchUp learns what happened while nobody listened to the VM's events.
func (p *process) catchUp(ctx context.Context) error {
	var answer struct{ Status string }
	if err := p.qmp.Execute(ctx, qmp.Command{Name: "query-status"}, &answer); err != nil {
		return err
	}
	switch answer.Status {
	case "shutdown":
		p.halt("the guest powered off")
	case "guest-panicked":
		p.halt("the guest's kernel panicked")
	case "internal-error":
		p.halt("QEMU met an internal error")
	case "io-error":
		p.setPaused(true)
	}
	return nil
}

// noteDeath records the end of a VM that ended while nobody watched.
func (v *podVM) noteDeath(ctx context.Context, r *record) error {
	reason := "QEMU ended while nobody watched"
	if r.BootID != bootID() {
		reason = "the machine restarted"
	}
	releaseGroups(ctx, v.uid, r.Groups)
	return v.save(func(r *record) { r.On, r.PID, r.StopReason, r.Groups = false, 0, reason, nil })
}

// bootID is this boot of the machine's; empty where it is not to be had.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
