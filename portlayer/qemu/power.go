package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/filelock"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
	"github.com/virtual-kubelet/vic/portlayer/qemu/procfs"
	"github.com/virtual-kubelet/vic/portlayer/qemu/qmp"
)

// undoTimeout bounds what is done after a context ended.
const undoTimeout = 15 * time.Second

// spareTasks are the threads that a QEMU may have beside those of its processors: it starts up to 64 for input and output (QEMU
// documentation, thread-pool-max), and a handful for itself.
const spareTasks = 128

// PowerOn starts QEMU and returns when it answers: by then the guest executes.
func (h *Hypervisor) PowerOn(ctx context.Context, uid string) error {
	v, unlock, err := h.change(ctx, uid)
	if err != nil {
		return fmt.Errorf("power on VM %s: %w", uid, err)
	}
	defer unlock()
	if _, proc := v.current(); proc != nil {
		return nil
	}
	if err := h.powerOn(ctx, v); err != nil {
		return fmt.Errorf("power on VM %s: %w", uid, err)
	}
	h.changed.Notify(uid)
	return nil
}

func (h *Hypervisor) powerOn(ctx context.Context, v *podVM) error {
	admitted, err := h.admit(ctx, v)
	if err != nil {
		return err
	}
	defer admitted()
	p, err := h.start(ctx, v)
	if err != nil {
		return errors.Join(err, h.detach(ctx, v))
	}
	err = v.run(p, func(r *record) {
		r.On, r.PID, r.BootID, r.StartedAt, r.StopReason = true, p.pid, bootID(), time.Now().UTC(), ""
		r.Groups = p.groups
	})
	if err != nil {
		err = errors.Join(err, undo(ctx, p.kill), h.detach(ctx, v))
		p.abandon(ctx, v.uid)
		return err
	}
	h.tend(ctx, v, p)
	return nil
}

// start returns a QEMU that answers, or none that runs.
func (h *Hypervisor) start(ctx context.Context, v *podVM) (*process, error) {
	r, _ := v.current()
	line, err := h.compose(ctx, v, r)
	if err != nil {
		return nil, err
	}
	cmd, words, err := spawn(h.config.Binary, line, h.confinement(r))
	if err != nil {
		return nil, &portlayer.PowerError{Reason: err.Error()}
	}
	p, err := newProcess(cmd.Process.Pid)
	if err != nil {
		err = errors.Join(err, cmd.Process.Kill())
		_ = cmd.Wait() // it was killed
		return nil, err
	}
	p.child, p.words = cmd, words
	h.tending.Go(p.await)
	expendable(ctx, v.uid, p.pid)
	h.bound(ctx, r, p)
	p.groups = cgroup.Of(p.pid, string(h.layout), v.uid)
	if err := h.greet(ctx, v, r, p); err != nil {
		p.abandon(ctx, v.uid)
		return nil, err
	}
	if h.apart(r) {
		reachesFiles(ctx, v.uid, p.emptyRoot())
	}
	return p, nil
}

// reachesFiles warns of a QEMU whose root could not be emptied. It is confined otherwise, and the Node says so.
func reachesFiles(ctx context.Context, uid string, err error) {
	if err != nil {
		logging.From(ctx).WarnContext(ctx, "pod VM reaches files of the host", "vm", uid, "err", err)
	}
}

// expendable has the kernel end a QEMU before what the host itself needs, whatever the score of this process is: as a service it
// may be one that is ended last.
func expendable(ctx context.Context, uid string, pid int) {
	if err := procfs.SetOOMScore(pid, procfs.VMScore); err != nil {
		logging.From(ctx).WarnContext(ctx, "pod VM may be ended late when memory runs out", "vm", uid, "err", err)
	}
}

// bound bounds and weighs the QEMU of a VM. Where the host does not let us, a warning says so once, and the Node does while such
// a VM runs.
func (h *Hypervisor) bound(ctx context.Context, r *record, p *process) {
	owner := r.Spec.Owner
	err := cgroup.Join(ctx, cgroup.Group{
		VCH: string(h.layout), UID: r.Spec.ID, Description: printable(fmt.Sprintf("pod VM %s/%s", owner.Namespace, owner.Name), 200),
		MemoryBytes: r.Spec.Size.MemoryBytes + h.overhead(), CPUMilli: r.Spec.Size.CPUMilli, Tasks: int64(r.Spec.Size.VCPUs) + spareTasks,
	}, p.pid)
	if err != nil {
		h.warnUnbounded.Do(func() { logging.From(ctx).WarnContext(ctx, "pod VMs are not bounded", "vm", r.Spec.ID, "err", err) })
	}
}

// greet waits for the new QEMU's control socket. Where it fails, the process is gone afterwards.
func (h *Hypervisor) greet(ctx context.Context, v *podVM, r *record, p *process) error {
	err := p.handshake(ctx, func() (*qmp.Client, error) {
		return awaitSocket(ctx, p.ended, func() (*qmp.Client, error) { return v.dialQMP(ctx, p) })
	}, r.UUID)
	if err == nil {
		return nil
	}
	if off := over(ctx); off != nil {
		return errors.Join(off, err, undo(ctx, p.kill))
	}
	// QEMU closes its socket a moment before its process ends; the reason comes with the latter.
	select {
	case <-p.ended:
		return &portlayer.PowerError{Reason: p.stopReason()}
	case <-time.After(quitTimeout):
	}
	return errors.Join(&portlayer.PowerError{Reason: err.Error()}, undo(ctx, p.kill))
}

// over reports whether ctx has ended. Input and output notice a deadline a moment before ctx does; that counts.
func over(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// undo runs f also where ctx has ended.
func undo(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	return f(ctx)
}

func (v *podVM) dialQMP(ctx context.Context, p *process) (*qmp.Client, error) {
	conn, err := dialSocket(ctx, v.dir, qmpSocket)
	if err != nil {
		return nil, err
	}
	return qmp.New(ctx, conn, p.onEvent)
}

// compose opens all that QEMU gets.
func (h *Hypervisor) compose(ctx context.Context, v *podVM, r *record) (line *commandLine, err error) {
	parts := vmParts{name: "vic-" + v.uid, record: r, accel: h.accel}
	var opened []*os.File
	defer func() {
		if err != nil {
			for _, f := range opened {
				_ = f.Close() // nobody has used it
			}
		}
	}()
	open := func(into **os.File, f *os.File, openErr error) {
		if openErr == nil {
			*into = f
			opened = append(opened, f)
		}
		err = errors.Join(err, openErr)
	}
	alive, lockErr := filelock.Try(v.path(aliveFile))
	if errors.Is(lockErr, filelock.ErrLocked) {
		return nil, fmt.Errorf("a QEMU of it runs and does not answer: %w", portlayer.ErrBusy)
	}
	open(&parts.alive, alive, lockErr)
	openInto := func(into **os.File, f func() (*os.File, error)) { got, e := f(); open(into, got, e) }
	openInto(&parts.qmp, func() (*os.File, error) { return bindSocket(v.dir, qmpSocket) })
	if r.Spec.Boot.HasGuest() {
		openInto(&parts.kernel, func() (*os.File, error) { return os.Open(h.boot.kernel) })
		openInto(&parts.initrd, func() (*os.File, error) { return os.Open(h.boot.initrd) })
		openInto(&parts.guest, func() (*os.File, error) { return bindSocket(v.dir, guestSocket) })
	}
	parts.disks = make([]*os.File, len(r.Spec.Disks))
	for i, d := range r.Spec.Disks {
		openInto(&parts.disks[i], func() (*os.File, error) { return h.openDisk(v, d) })
	}
	if h.config.Network != nil {
		parts.taps = make([]*os.File, len(r.Spec.NICs))
		for i, port := range networkPorts(r.Spec) {
			openInto(&parts.taps[i], func() (*os.File, error) { return h.config.Network.Attach(ctx, port) })
		}
	}
	if err != nil {
		return nil, spaceError(err)
	}
	return newCommandLine(parts), nil
}

// openDisk opens a disk as its kind allows. Each VM has an open file of its own, and with it QEMU's locks.
func (h *Hypervisor) openDisk(v *podVM, d portlayer.Disk) (*os.File, error) {
	if d.Kind == portlayer.DiskScratch {
		return os.OpenFile(scratchPath(v.dir, d.Serial), os.O_RDWR, 0)
	}
	return os.Open(h.layout.disk(string(d.Ref)))
}

// groups are QEMU's supplementary groups: that of the KVM device where only it may open it.
func (h *Hypervisor) groups() []uint32 {
	var st unix.Stat_t
	if h.accel != AccelKVM || unix.Stat("/dev/kvm", &st) != nil || st.Mode&0o006 == 0o006 {
		return []uint32{}
	}
	return []uint32{st.Gid}
}

// PowerOff ends QEMU.
func (h *Hypervisor) PowerOff(ctx context.Context, uid string) error {
	v, unlock, err := h.change(ctx, uid)
	if errors.Is(err, portlayer.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("power off VM %s: %w", uid, err)
	}
	defer unlock()
	if err := h.powerOff(ctx, v); err != nil {
		return fmt.Errorf("power off VM %s: %w", uid, err)
	}
	return nil
}

// powerOff returns when the process is gone and the record says so.
func (h *Hypervisor) powerOff(ctx context.Context, v *podVM) error {
	_, p := v.current()
	if p == nil {
		return nil
	}
	p.command()
	h.drain(ctx, v, p)
	if err := p.end(ctx); err != nil {
		p.takeBack()
		return err
	}
	h.ended(ctx, v, p)
	return nil
}

// detach takes a VM that does not run off the network.
func (h *Hypervisor) detach(ctx context.Context, v *podVM) error {
	if h.config.Network == nil {
		return nil
	}
	r, _ := v.current()
	return undo(ctx, func(ctx context.Context) error {
		var err error
		for _, port := range networkPorts(r.Spec) {
			err = errors.Join(err, h.config.Network.Detach(ctx, port))
		}
		return err
	})
}

// ended does what is due when a VM's process is gone; the second call for the same process does nothing.
func (h *Hypervisor) ended(ctx context.Context, v *podVM, p *process) {
	if _, current := v.current(); current != p {
		return
	}
	if err := h.detach(ctx, v); err != nil {
		logging.From(ctx).WarnContext(ctx, "network port of a stopped pod VM left behind", "vm", v.uid, "err", err)
	}
	cgroup.Release(ctx, v.uid, p.groups)
	if err := v.stopped(p); err != nil {
		logging.From(ctx).ErrorContext(ctx, "pod VM stopped and its record can't be written", "vm", v.uid, "err", err)
	}
	p.release()
	h.changed.Notify(v.uid)
}
