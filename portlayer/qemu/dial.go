package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/virtual-kubelet/vic/portlayer"
)

// Dial connects to the guest's virtio-serial port.
func (h *Hypervisor) Dial(ctx context.Context, uid string) (io.ReadWriteCloser, error) {
	conn, err := h.dial(ctx, uid)
	if err != nil {
		return nil, fmt.Errorf("dial guest of VM %s: %w", uid, err)
	}
	return conn, nil
}

func (h *Hypervisor) dial(ctx context.Context, uid string) (io.ReadWriteCloser, error) {
	v, err := h.find(uid)
	if err != nil {
		return nil, err
	}
	if r, p := v.current(); p != nil && !r.Spec.Boot.HasGuest() {
		return nil, fmt.Errorf("it boots no guest of ours: %w", portlayer.ErrUnsupported)
	}
	if !v.claimed() { // the process that held it may be gone
		_, unlock, err := h.change(ctx, uid)
		if err != nil {
			return nil, err
		}
		unlock()
	}
	if err := v.takeChannel(); err != nil {
		return nil, err
	}
	conn, err := dialSocket(ctx, v.dir, guestSocket)
	if err != nil {
		v.releaseChannel()
		if _, p := v.current(); p == nil {
			return nil, portlayer.ErrNotRunning
		}
		return nil, fmt.Errorf("%w: %w", portlayer.ErrBusy, err)
	}
	guest := &guestConn{ReadWriteCloser: conn, release: v.releaseChannel}
	if !v.keepChannel(guest) {
		return nil, errors.Join(portlayer.ErrNotRunning, guest.Close())
	}
	return guest, nil
}

// takeChannel makes the caller the one who may connect to the guest.
func (v *podVM) takeChannel() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.proc == nil:
		return portlayer.ErrNotRunning
	case v.dialed:
		return fmt.Errorf("the guest has a connection already: %w", portlayer.ErrBusy)
	}
	v.dialed = true
	return nil
}

// keepChannel notes the connection, so that it ends when we let go of the VM. False says that we have.
func (v *podVM) keepChannel(c *guestConn) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.guest = c
	return v.held != nil
}

func (v *podVM) releaseChannel() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dialed, v.guest = false, nil
}

// guestConn is the one connection to a guest that is open.
type guestConn struct {
	io.ReadWriteCloser
	release func()
	once    sync.Once // guards release
}

// Close lets the next one in.
func (c *guestConn) Close() error {
	err := c.ReadWriteCloser.Close()
	c.once.Do(c.release)
	return err
}
