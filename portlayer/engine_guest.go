package portlayer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer/guestlink"
)

// entropyBytes seed the guest's random pool.
const entropyBytes = 64

// Get returns one pod VM; one that is gone but not forgotten has State StateRemoved. ErrNotFound.
func (e *Engine) Get(_ context.Context, uid string) (PodVM, error) {
	p, err := e.pod(uid, false)
	if err != nil || p == nil {
		return PodVM{}, fmt.Errorf("pod VM %s: %w", uid, ErrNotFound)
	}
	return p.view(), nil
}

// List asks the hypervisor and returns all that Get would.
func (e *Engine) List(ctx context.Context) ([]PodVM, error) {
	if err := e.refresh(ctx); err != nil {
		return nil, err
	}
	pods := e.all()
	vms := make([]PodVM, 0, len(pods))
	for _, p := range pods {
		vms = append(vms, p.view())
	}
	return vms, nil
}

// AckEvents tells the guest that events up to seq of that boot are dealt with; they are in no snapshot any more. The
// guest hears of it with the next question for its state, perhaps from another process.
func (e *Engine) AckEvents(ctx context.Context, uid, bootID string, seq uint64) error {
	p, err := e.pod(uid, false)
	if err != nil || p == nil {
		return fmt.Errorf("acknowledge events of pod VM %s: %w", uid, ErrNotFound)
	}
	p.mu.Lock()
	acked := ackedEvents{bootID, seq}
	news := p.acked.BootID != bootID || p.acked.Seq < seq
	if news {
		p.acked = acked
	}
	if p.guest != nil {
		p.guest = p.acked.strip(p.guest)
	}
	link := p.link
	p.mu.Unlock()
	if news {
		p.saveAcked(ctx)
	}
	if link != nil {
		link.Ack(bootID, seq)
	}
	return nil
}

// SetNote keeps note, which is JSON, as PodVM.Note until Forget. ErrNotFound.
func (e *Engine) SetNote(_ context.Context, uid string, note []byte) error {
	p, err := e.pod(uid, false)
	if err != nil || p == nil {
		return fmt.Errorf("keep note of pod VM %s: %w", uid, ErrNotFound)
	}
	p.saving.Lock()
	defer p.saving.Unlock()
	note = slices.Clone(note)
	if err := p.dir.SaveNote(note); err != nil {
		return fmt.Errorf("keep note of pod VM %s: %w", uid, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.note = note
	return nil
}

// Configure applies what all containers share; interfaces, scratch disk, time and entropy are the engine's to fill in.
func (e *Engine) Configure(ctx context.Context, uid string, pod wire.Pod) (wire.Ready, error) {
	p, link, err := e.guest(uid)
	if err != nil {
		return wire.Ready{}, fmt.Errorf("configure pod VM %s: %w", uid, err)
	}
	vm := p.view()
	spec := vm.Spec
	pod.UID = uid
	pod.Interfaces = nil
	for _, nic := range spec.NICs {
		pod.Interfaces = append(pod.Interfaces, wire.Interface{
			MAC: nic.MAC, Address: nic.Address, Gateway: nic.Gateway, MTU: nic.MTU,
		})
	}
	pod.ScratchDisk = ""
	if i := slices.IndexFunc(spec.Disks, func(d Disk) bool { return d.Kind == DiskScratch }); i >= 0 {
		pod.ScratchDisk = vm.DiskName(spec.Disks[i].Serial)
	}
	pod.Volumes = slices.Clone(pod.Volumes)
	for i, v := range pod.Volumes {
		if v.Disk != "" {
			pod.Volumes[i].Disk = vm.DiskName(v.Disk)
		}
	}
	pod.Time = time.Now()
	pod.Entropy = make([]byte, entropyBytes)
	if _, err := rand.Read(pod.Entropy); err != nil {
		return wire.Ready{}, fmt.Errorf("configure pod VM %s: read random bytes: %w", uid, err)
	}
	ready, err := link.Configure(ctx, pod)
	if err != nil {
		return wire.Ready{}, fmt.Errorf("configure pod VM %s: %w", uid, guestError(err))
	}
	expect := p.expect()
	for _, a := range ready.Addresses {
		if !slices.Contains(expect.Addresses, a) {
			return wire.Ready{}, fmt.Errorf("configure pod VM %s: guest reports address %s, which is not its own", uid, a)
		}
	}
	return ready, nil
}

// PutFiles replaces the content of one volume.
func (e *Engine) PutFiles(ctx context.Context, uid string, files wire.Files) error {
	return e.call(uid, "put files of volume "+files.Volume+" into", func(l *guestlink.Link) error {
		return l.PutFiles(ctx, files)
	})
}

// Run runs one container, now and as its restart policy says.
func (e *Engine) Run(ctx context.Context, uid string, c wire.Container) error {
	if p := e.present(uid); p != nil {
		vm, disks := p.view(), make([]string, len(c.Disks))
		for i, serial := range c.Disks {
			disks[i] = vm.DiskName(serial)
		}
		c.Disks = disks
	}
	return e.call(uid, "run container "+c.Name+" in", func(l *guestlink.Link) error { return l.Run(ctx, c) })
}

// Stop asks the guest to end all containers and returns at once.
func (e *Engine) Stop(ctx context.Context, uid string, stop wire.Stop) error {
	return e.call(uid, "stop containers in", func(l *guestlink.Link) error { return l.Stop(ctx, stop) })
}

// Exec runs a command in a running container and returns its exit.
func (e *Engine) Exec(ctx context.Context, uid, container string, exec wire.Exec, streams Streams) (wire.Exit, error) {
	var exit wire.Exit
	err := e.process(uid, container, "exec in container "+container+" of", func(l *guestlink.Link) (err error) {
		exit, err = l.Exec(ctx, container, exec, guestlink.Streams(streams))
		return err
	})
	return exit, err
}

// Attach connects to the running process of a container.
func (e *Engine) Attach(ctx context.Context, uid, container string, attach wire.Attach, streams Streams) (wire.Exit, error) {
	var exit wire.Exit
	err := e.process(uid, container, "attach to container "+container+" of", func(l *guestlink.Link) (err error) {
		exit, err = l.Attach(ctx, container, attach, guestlink.Streams(streams))
		return err
	})
	return exit, err
}

// Stats returns what the pod uses now. A guest cannot say that it uses more memory than its VM has.
func (e *Engine) Stats(ctx context.Context, uid string) (wire.Stats, error) {
	var stats wire.Stats
	err := e.call(uid, "ask for stats of", func(l *guestlink.Link) (err error) {
		stats, err = l.Stats(ctx)
		return err
	})
	if err != nil {
		return wire.Stats{}, err
	}
	if p := e.present(uid); p != nil {
		limit := uint64(p.view().Spec.Size.MemoryBytes)
		clampMemory(&stats.Pod, limit)
		for i := range stats.Containers {
			clampMemory(&stats.Containers[i].Usage, limit)
		}
	}
	return stats, nil
}

func clampMemory(u *wire.Usage, limit uint64) {
	u.MemoryBytes, u.WorkingSetBytes, u.RSSBytes = min(u.MemoryBytes, limit), min(u.WorkingSetBytes, limit), min(u.RSSBytes, limit)
}

// DialPort opens a TCP connection to a port of the pod, from inside. The connection has a CloseWrite method.
func (e *Engine) DialPort(ctx context.Context, uid string, port uint16) (io.ReadWriteCloser, error) {
	var conn io.ReadWriteCloser
	err := e.call(uid, fmt.Sprintf("dial port %d of", port), func(l *guestlink.Link) (err error) {
		conn, err = l.DialPort(ctx, port)
		return err
	})
	return conn, err
}

// Console returns the end of the VM's console.
func (e *Engine) Console(ctx context.Context, uid string) ([]byte, error) {
	return e.config.Hypervisor.Console(ctx, uid)
}

// guest returns the pod and the link with its guest. ErrNotFound, ErrNotRunning, ErrGuestUnreachable.
func (e *Engine) guest(uid string) (*pod, *guestlink.Link, error) {
	p := e.present(uid)
	if p == nil {
		return nil, nil, ErrNotFound
	}
	link, err := e.guestOf(p)
	return p, link, err
}

func (e *Engine) guestOf(p *pod) (*guestlink.Link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.vm.State != StateRunning:
		return nil, ErrNotRunning
	case p.link == nil:
		return nil, ErrGuestUnreachable
	}
	return p.link, nil
}

// call makes a call to the guest of uid; what it does reads before "pod VM".
func (e *Engine) call(uid, what string, do func(*guestlink.Link) error) error {
	_, link, err := e.guest(uid)
	if err == nil {
		err = guestError(do(link))
	}
	if err != nil {
		return fmt.Errorf("%s pod VM %s: %w", what, uid, err)
	}
	return nil
}

// process makes a call about a container that has to run.
func (e *Engine) process(uid, container, what string, do func(*guestlink.Link) error) error {
	p := e.present(uid)
	if p == nil || !slices.Contains(p.view().Spec.Tasks, container) {
		return fmt.Errorf("%s pod VM %s: %w", what, uid, ErrNotFound)
	}
	return e.call(uid, what, func(l *guestlink.Link) error {
		err := do(l)
		var status *guestlink.StatusError
		if errors.As(err, &status) && status.Code == http.StatusConflict {
			return fmt.Errorf("%w: %w", ErrNotRunning, err)
		}
		return err
	})
}

// guestError gives a failure of the link the kind that this package has for it.
func guestError(err error) error {
	var status *guestlink.StatusError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, guestlink.ErrUnreachable), errors.Is(err, guestlink.ErrMalformed):
		return fmt.Errorf("%w: %w", ErrGuestUnreachable, err)
	case !errors.As(err, &status):
		return err
	case status.Code == http.StatusNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case status.Code == http.StatusTooManyRequests, status.Code == http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %w", ErrBusy, err)
	}
	return err
}
