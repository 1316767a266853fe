package qemu

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/virtual-kubelet/vic/portlayer"
)

// Dial connects to the guest's virtio-serial port.
func (h *Hypervisor) Dial(ctx context.Context, uid string) (io.ReadWriteCloser, error) {
	conn, err := h.dial(ctx, uid)
	if err != nil {
		return nil, fmt.Errorf("dial guest of pod VM %s: %w", uid, err)
	}
	return conn, nil
}

func (h *Hypervisor) dial(ctx context.Context, uid string) (io.ReadWriteCloser, error) {
	v, err := h.find(uid)
	if err != nil {
		return nil, err
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
	return &guestConn{conn, sync.OnceFunc(v.releaseChannel)}, nil
}

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

func (v *podVM) releaseChannel() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dialed = false
}

// guestConn is the one connection to a guest that is open.
type guestConn struct {
	io.ReadWriteCloser
	release func()
}

// Close lets the next one in.
func (c *guestConn) Close() error {
	err := c.ReadWriteCloser.Close()
	c.release()
	return err
}
