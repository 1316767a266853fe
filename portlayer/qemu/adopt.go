package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

const (
	// adoptPatience is how long a look at the VMs waits for those that are being taken over: an answer takes a moment, or
	// as long as a QEMU that is stopped is kept so.
	adoptPatience = 3 * time.Second
	// redialStep is how often a QEMU whose queue is full is tried again.
	redialStep = time.Second
)

// takeOverAll makes this process the holder of every VM that no other process holds. It waits for that, but for at most
// adoptPatience: a VM that can't be taken over at once is not a reason to leave the others alone, and is shown from disk.
func (h *Hypervisor) takeOverAll(ctx context.Context, uids []string) {
	patience := time.NewTimer(adoptPatience)
	defer patience.Stop()
	var waiting []<-chan struct{}
	for _, uid := range uids {
		if v, err := h.find(uid); err == nil && !v.claimed() {
			waiting = append(waiting, h.takeOver(ctx, uid))
		}
	}
	for _, done := range waiting {
		select {
		case <-done:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// takeOver claims a VM aside, once however many ask, and returns a channel that is closed when it has or could not.
func (h *Hypervisor) takeOver(ctx context.Context, uid string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if done, ok := h.claiming[uid]; ok {
		return done
	}
	done := make(chan struct{})
	h.claiming[uid] = done
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	// Ends when the VM is claimed, when its QEMU can't be reached in time, or with Close.
	h.claims.Go(func() {
		defer cancel()
		h.claimAside(ctx, uid)
		h.mu.Lock()
		delete(h.claiming, uid)
		h.mu.Unlock()
		close(done)
	})
	h.claims.Go(func() { // ends with the one above
		select {
		case <-h.closing:
			cancel()
		case <-ctx.Done():
		}
	})
	return done
}

func (h *Hypervisor) claimAside(ctx context.Context, uid string) {
	_, unlock, err := h.change(ctx, uid)
	switch {
	case err == nil:
		unlock()
		h.changed.Notify(uid)
	case errors.Is(err, portlayer.ErrNotFound), errors.Is(err, portlayer.ErrBusy), ctx.Err() != nil:
		// It was destroyed, is another process's, or the next look tries again. What is on disk of it is still true.
		logging.From(ctx).DebugContext(ctx, "pod VM not taken over", "vm", uid, "err", err)
	default:
		logging.From(ctx).WarnContext(ctx, "pod VM left unclaimed", "vm", uid, "err", err)
	}
}

// claim takes a VM's lock and finds out what it does. The caller has the VM's turn. ErrBusy, ErrNotFound.
func (h *Hypervisor) claim(ctx context.Context, v *podVM) error {
	if _, err := os.Stat(v.dir); errors.Is(err, fs.ErrNotExist) {
		h.forget(v)
		return portlayer.ErrNotFound
	}
	held, err := filelock.Try(v.path(lockFile))
	if errors.Is(err, filelock.ErrLocked) {
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

// adopt returns the VM's process; nil where there is none. One that lives and does not answer is returned too: it can be
// watched and killed, and counts as answering once it does.
//
// A QEMU that has just been started may not listen yet, one that ends does no more: while it lives, it is asked again.
func (h *Hypervisor) adopt(ctx context.Context, v *podVM, r *record) (*process, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*qmp.HandshakeTimeout)
	defer cancel()
	ticker := time.NewTicker(connectStep)
	defer ticker.Stop()
	for {
		alive, err := filelock.Held(v.path(aliveFile))
		if err != nil || !alive {
			return nil, err
		}
		p, err := h.meet(ctx, v, r)
		if !notYet(err) && !errors.Is(err, qmp.ErrClosed) && !errors.Is(err, unix.ESRCH) {
			return p, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("its QEMU lives and does not listen: %w: %w", portlayer.ErrBusy, err)
		}
	}
}

// notYet reports whether a socket may have a listener in a moment.
func notYet(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
}

// meet finds the process of a QEMU that lives and speaks to it, and leaves one that does not answer to converse.
func (h *Hypervisor) meet(ctx context.Context, v *podVM, r *record) (*process, error) {
	p, conn, err := approach(ctx, v, r)
	if err != nil {
		return nil, err
	}
	answered := make(chan error, 1)
	// Ends with QEMU's answer, with QEMU, or when p is released.
	h.tending.Go(func() { answered <- h.converse(ctx, v, p, conn) })
	patience := time.NewTimer(qmp.HandshakeTimeout)
	defer patience.Stop()
	select {
	case err = <-answered:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-patience.C:
		if err = recognise(v, p.pid); err == nil {
			logging.From(ctx).WarnContext(ctx, "QEMU does not answer", "vm", v.uid)
		}
	}
	if err != nil {
		p.release()
		return nil, err
	}
	expendable(ctx, v.uid, p.pid) // the process before us may have been killed before it did so
	reachesFiles(ctx, v.uid, h.finishEmptying(r, p))
	p.groups = cgroup.Of(p.pid, string(h.layout), v.uid)
	h.tending.Go(p.await)
	return p, nil
}

// approach returns the process that listens on the VM's control socket, and a connection to it. A QEMU that stopped while
// others waited for it takes no more connections: then there is none, and the process is the one of the record, if that
// has the VM.
func approach(ctx context.Context, v *podVM, r *record) (*process, *net.UnixConn, error) {
	conn, err := dialSocket(ctx, v.dir, qmpSocket)
	if errors.Is(err, unix.EAGAIN) {
		p, err := newProcess(r.PID)
		if err == nil {
			if err = recognise(v, p.pid); err != nil {
				p.release()
			}
		}
		return p, nil, err
	}
	if err != nil {
		return nil, nil, err
	}
	pid, err := peerPID(conn)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	p, err := newProcess(pid)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return p, conn, nil
}

// converse speaks to p as soon as it listens. An answer comes over a socket that the process of that id listens on, after
// its pidfd was opened: it is the one, and by its UUID it is the VM's.
func (h *Hypervisor) converse(ctx context.Context, v *podVM, p *process, conn *net.UnixConn) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	h.tending.Go(func() { // ends with converse
		select {
		case <-p.released:
		case <-p.ended:
		case <-ctx.Done():
		}
		cancel()
	})
	begin := time.Now()
	r, _ := v.current()
	err := p.handshake(ctx, func() (*qmp.Client, error) {
		for conn == nil {
			if err := wait.For(ctx, redialStep); err != nil {
				return nil, err
			}
			conn, _ = dialSocket(ctx, v.dir, qmpSocket) // until its queue has room
		}
		return qmp.New(ctx, conn, p.onEvent)
	}, r.UUID)
	if err == nil {
		err = p.catchUp(ctx)
	}
	if err == nil && time.Since(begin) > qmp.HandshakeTimeout {
		logging.From(ctx).InfoContext(ctx, "QEMU answers again", "vm", v.uid, "took", time.Since(begin))
		h.changed.Notify(v.uid)
	}
	return err
}

// recognise returns nil when the process of that id has the VM: only its QEMU holds the alive file open. A number from a file
// or a socket may be somebody else's by now.
func recognise(v *podVM, pid int) error {
	alive, err := os.Stat(v.path(aliveFile))
	if err != nil {
		return err
	}
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	names, err := os.ReadDir(fds)
	if err != nil {
		return fmt.Errorf("its QEMU does not answer: %w: %w", portlayer.ErrBusy, err)
	}
	for _, name := range names {
		if open, err := os.Stat(filepath.Join(fds, name.Name())); err == nil && os.SameFile(open, alive) {
			return nil
		}
	}
	return fmt.Errorf("process %d is not its QEMU, which does not answer: %w", pid, portlayer.ErrBusy)
}

// noteDeath records the end of a VM that ended while nobody watched.
func (v *podVM) noteDeath(ctx context.Context, r *record) error {
	reason := "QEMU ended while nobody watched"
	if r.BootID != bootID() {
		reason = "the machine restarted"
	}
	cgroup.Release(ctx, v.uid, r.Groups)
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
