package podvm

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
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm/guestlink"
)

// entropyBytes seed the guest's random pool.
const entropyBytes = 64

// Get implements Records.
func (h *Host) Get(_ context.Context, id string) (VM, error) {
	p, err := h.pod(id, false)
	if err != nil || p == nil {
		return VM{}, fmt.Errorf("pod VM %s: %w", id, portlayer.ErrNotFound)
	}
	return p.view(), nil
}

// List asks the hypervisor and returns all that Get would.
func (h *Host) List(ctx context.Context) ([]VM, error) {
	if err := h.layer.Refresh(ctx); err != nil {
		return nil, err
	}
	pods := h.all()
	vms := make([]VM, 0, len(pods))
	for _, p := range pods {
		vms = append(vms, p.view())
	}
	return vms, nil
}

// AckEvents acknowledges to the guest that events up to seq of that boot are dealt with; they are in no snapshot any more. The
// guest hears of it with the next question for its state, perhaps from another process.
func (h *Host) AckEvents(ctx context.Context, id, bootID string, seq uint64) error {
	p, err := h.pod(id, false)
	if err != nil || p == nil {
		return fmt.Errorf("acknowledge events of pod VM %s: %w", id, portlayer.ErrNotFound)
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

// Remember implements Records.
func (h *Host) Remember(_ context.Context, id string, record []byte) error {
	p, err := h.pod(id, false)
	if err != nil || p == nil {
		return fmt.Errorf("remember pod VM %s: %w", id, portlayer.ErrNotFound)
	}
	p.saving.Lock()
	defer p.saving.Unlock()
	record = slices.Clone(record)
	if err := p.dir.SaveRecord(record); err != nil {
		return fmt.Errorf("remember pod VM %s: %w", id, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record = record
	return nil
}

// Configure applies what all containers share; interfaces, scratch disk, time and entropy are the engine's to fill in.
func (h *Host) Configure(ctx context.Context, id string, pod wire.Pod) (wire.Ready, error) {
	p, link, err := h.guest(id)
	if err != nil {
		return wire.Ready{}, fmt.Errorf("configure pod VM %s: %w", id, err)
	}
	vm := p.view()
	spec := vm.Spec
	pod.UID = id
	pod.Interfaces = nil
	for _, nic := range spec.NICs {
		pod.Interfaces = append(pod.Interfaces, wire.Interface{
			MAC: nic.MAC, Addresses: nic.Addresses, Gateways: nic.Gateways, MTU: nic.MTU,
		})
	}
	pod.ScratchDisk = ""
	if i := slices.IndexFunc(spec.Disks, func(d portlayer.Disk) bool { return d.Kind == portlayer.DiskScratch }); i >= 0 {
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
		return wire.Ready{}, fmt.Errorf("configure pod VM %s: read random bytes: %w", id, err)
	}
	ready, err := link.Configure(ctx, pod)
	if err != nil {
		return wire.Ready{}, fmt.Errorf("configure pod VM %s: %w", id, guestError(err))
	}
	expect := p.expect()
	for _, a := range ready.Addresses {
		if !slices.Contains(expect.Addresses, a) {
			return wire.Ready{}, fmt.Errorf("configure pod VM %s: guest reports address %s, which is not its own", id, a)
		}
	}
	return ready, nil
}

// PutFiles replaces the content of one volume.
func (h *Host) PutFiles(ctx context.Context, id string, files wire.Files) error {
	return h.call(id, "put files of volume "+files.Volume+" into", func(l *guestlink.Link) error {
		return l.PutFiles(ctx, files)
	})
}

// Run runs one container, now and as its restart policy says.
func (h *Host) Run(ctx context.Context, id string, c wire.Container) error {
	if p := h.present(id); p != nil {
		vm, disks := p.view(), make([]string, len(c.Disks))
		for i, serial := range c.Disks {
			disks[i] = vm.DiskName(serial)
		}
		c.Disks = disks
	}
	return h.call(id, "run container "+c.Name+" in", func(l *guestlink.Link) error { return l.Run(ctx, c) })
}

// Stop asks the guest to end all containers and returns at once.
func (h *Host) Stop(ctx context.Context, id string, stop wire.Stop) error {
	return h.call(id, "stop containers in", func(l *guestlink.Link) error { return l.Stop(ctx, stop) })
}

// Exec runs a command in a running container and returns its exit.
func (h *Host) Exec(ctx context.Context, id, container string, exec wire.Exec, stdio Stdio) (wire.Exit, error) {
	var exit wire.Exit
	err := h.process(id, container, "exec in container "+container+" of", func(l *guestlink.Link) (err error) {
		exit, err = l.Exec(ctx, container, exec, guestlink.Streams(stdio))
		return err
	})
	return exit, err
}

// Attach connects to the running process of a container.
func (h *Host) Attach(ctx context.Context, id, container string, attach wire.Attach, stdio Stdio) (wire.Exit, error) {
	var exit wire.Exit
	err := h.process(id, container, "attach to container "+container+" of", func(l *guestlink.Link) (err error) {
		exit, err = l.Attach(ctx, container, attach, guestlink.Streams(stdio))
		return err
	})
	return exit, err
}

// Stats returns what the pod uses now. A guest cannot say that it uses more memory than its VM has.
func (h *Host) Stats(ctx context.Context, id string) (wire.Stats, error) {
	var stats wire.Stats
	err := h.call(id, "ask for stats of", func(l *guestlink.Link) (err error) {
		stats, err = l.Stats(ctx)
		return err
	})
	if err != nil {
		return wire.Stats{}, err
	}
	if p := h.present(id); p != nil {
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
func (h *Host) DialPort(ctx context.Context, id string, port uint16) (io.ReadWriteCloser, error) {
	var conn io.ReadWriteCloser
	err := h.call(id, fmt.Sprintf("dial port %d of", port), func(l *guestlink.Link) (err error) {
		conn, err = l.DialPort(ctx, port)
		return err
	})
	return conn, err
}

// Console returns the end of the VM's console.
func (h *Host) Console(ctx context.Context, id string) ([]byte, error) {
	return h.layer.Console(ctx, id)
}

// guest returns the pod and the link with its guest. portlayer.ErrNotFound, portlayer.ErrNotRunning, portlayer.ErrGuestUnreachable.
func (h *Host) guest(id string) (*pod, *guestlink.Link, error) {
	p := h.present(id)
	if p == nil {
		return nil, nil, portlayer.ErrNotFound
	}
	link, err := h.guestOf(p)
	return p, link, err
}

func (h *Host) guestOf(p *pod) (*guestlink.Link, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.vm.State != portlayer.StateRunning:
		return nil, portlayer.ErrNotRunning
	case p.link == nil:
		return nil, portlayer.ErrGuestUnreachable
	}
	return p.link, nil
}

// call makes a call to the guest of id; what it does reads before "pod VM".
func (h *Host) call(id, what string, do func(*guestlink.Link) error) error {
	_, link, err := h.guest(id)
	if err == nil {
		err = guestError(do(link))
	}
	if err != nil {
		return fmt.Errorf("%s pod VM %s: %w", what, id, err)
	}
	return nil
}

// process makes a call about a container that has to run.
func (h *Host) process(id, container, what string, do func(*guestlink.Link) error) error {
	p := h.present(id)
	if p == nil || !slices.Contains(Containers(p.view().Spec), container) {
		return fmt.Errorf("%s pod VM %s: %w", what, id, portlayer.ErrNotFound)
	}
	return h.call(id, what, func(l *guestlink.Link) error {
		err := do(l)
		var status *guestlink.StatusError
		if errors.As(err, &status) && status.Code == http.StatusConflict {
			return fmt.Errorf("%w: %w", portlayer.ErrNotRunning, err)
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
		return fmt.Errorf("%w: %w", portlayer.ErrGuestUnreachable, err)
	case !errors.As(err, &status):
		return err
	case status.Code == http.StatusNotFound:
		return fmt.Errorf("%w: %w", portlayer.ErrNotFound, err)
	case status.Code == http.StatusTooManyRequests, status.Code == http.StatusServiceUnavailable:
		return fmt.Errorf("%w: %w", portlayer.ErrBusy, err)
	}
	return err
}
