package memhv

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

// PowerOn boots the VM's guest.
func (h *Hypervisor) PowerOn(_ context.Context, uid string) error {
	if err := h.enter("PowerOn"); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.vms[uid]
	switch {
	case !ok:
		return fmt.Errorf("power on VM %s: %w", uid, portlayer.ErrNotFound)
	case v.State == portlayer.StateRunning:
		return nil
	case h.config.MemoryBytes > 0 && h.runningLocked()+v.Spec.Size.MemoryBytes > h.config.MemoryBytes:
		return fmt.Errorf("power on VM %s: %w", uid, portlayer.ErrOutOfMemory)
	}
	h.pid++
	v.State, v.StartedAt, v.StopReason, v.PID = portlayer.StateRunning, time.Now(), "", h.pid
	v.port = newPort()
	p := v.port
	if !v.Spec.Boot.HasGuest() {
		h.changed.Notify(uid)
		return nil // nothing is executed here
	}
	guest := fakeguest.New(fakeguest.Config{
		PowerOff: func() { h.stop(uid, p, "") },
		HasDisk:  func(serial string) bool { return h.hasSerial(uid, serial) },
	})
	v.guest = guest
	v.console = fmt.Appendf(v.console, "boot %d\n", h.pid)
	// It serves until the VM stops, which closes the port.
	time.AfterFunc(h.config.Boot, func() { _ = guest.Serve(guestEnd{p}) }) // it always ends with the port
	h.changed.Notify(uid)
	return nil
}

func (h *Hypervisor) hasSerial(uid, serial string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.vms[uid]
	return ok && slices.ContainsFunc(v.Spec.Disks, func(d portlayer.Disk) bool { return d.Serial == serial })
}

// PowerOff stops the VM at once.
func (h *Hypervisor) PowerOff(_ context.Context, uid string) error {
	if err := h.enter("PowerOff"); err != nil {
		return err
	}
	h.stop(uid, nil, "")
	return nil
}

// stop ends the boot that has that port, or whatever boot runs where it is nil.
func (h *Hypervisor) stop(uid string, p *port, reason string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.vms[uid]
	if !ok || v.State != portlayer.StateRunning || (p != nil && v.port != p) {
		return
	}
	v.stop(reason)
	h.changed.Notify(uid)
}

func (v *vm) stop(reason string) {
	if v.State != portlayer.StateRunning {
		return
	}
	v.State, v.StopReason, v.PID = portlayer.StateStopped, reason, 0
	v.port.close()
}

// Dial connects to the port of a running VM, to which one host at a time is connected.
func (h *Hypervisor) Dial(_ context.Context, uid string) (io.ReadWriteCloser, error) {
	if err := h.enter("Dial"); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.vms[uid]
	switch {
	case !ok:
		return nil, fmt.Errorf("dial VM %s: %w", uid, portlayer.ErrNotFound)
	case v.State != portlayer.StateRunning:
		return nil, fmt.Errorf("dial VM %s: %w", uid, portlayer.ErrNotRunning)
	}
	if !v.Spec.Boot.HasGuest() {
		return nil, fmt.Errorf("dial VM %s: it boots no guest of ours: %w", uid, portlayer.ErrUnsupported)
	}
	conn, ok := v.port.connect()
	if !ok {
		return nil, fmt.Errorf("dial VM %s: %w", uid, portlayer.ErrBusy)
	}
	return conn, nil
}

// Console returns a line for each boot.
func (h *Hypervisor) Console(_ context.Context, uid string) ([]byte, error) {
	if err := h.enter("Console"); err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	v, ok := h.vms[uid]
	if !ok {
		return nil, fmt.Errorf("console of VM %s: %w", uid, portlayer.ErrNotFound)
	}
	return slices.Clone(v.console), nil
}
