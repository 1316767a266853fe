package memhv

import (
	"io"
	"sync"
)

// portBytes is how much a port holds in each direction.
const portBytes = 64 << 10

// port is the byte channel of one VM. The guest has one end for as long as the VM runs; hosts come and go at the other.
type port struct {
	mu      sync.Mutex // guards what follows
	moved   *sync.Cond // something below changed
	toGuest []byte
	toHost  []byte
	host    *hostEnd // nil while no host is connected
	closed  bool     // the VM stopped
	silent  bool
	cutIn   int // after how many more bytes to the host its connection is cut; negative for never
}

func newPort() *port {
	p := &port{cutIn: -1}
	p.moved = sync.NewCond(&p.mu)
	return p
}

// connect returns the host's end; false while another host is connected.
func (p *port) connect() (*hostEnd, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.host != nil {
		return nil, false
	}
	p.host = &hostEnd{port: p}
	return p.host, true
}

func (p *port) close() {
	p.change(func() { p.closed = true })
}

// change alters the port and wakes everyone who waits for it.
func (p *port) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	p.moved.Broadcast()
}

// guestEnd is the port as the guest sees it.
type guestEnd struct{ *port }

func (g guestEnd) Read(b []byte) (int, error) {
	p := g.port
	p.mu.Lock()
	defer p.mu.Unlock()
	for (len(p.toGuest) == 0 || p.silent) && !p.closed {
		p.moved.Wait()
	}
	if p.closed {
		return 0, io.EOF
	}
	n := copy(b, p.toGuest)
	p.toGuest = p.toGuest[n:]
	p.moved.Broadcast()
	return n, nil
}

func (g guestEnd) Write(b []byte) (int, error) {
	p := g.port
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.toHost) > portBytes && p.host != nil && !p.closed {
		p.moved.Wait()
	}
	if p.closed {
		return 0, io.ErrClosedPipe
	}
	if p.host != nil && !p.silent {
		p.toHost = append(p.toHost, b...)
		p.moved.Broadcast()
	}
	return len(b), nil
}

// hostEnd is one connection of a host.
type hostEnd struct {
	port   *port
	closed bool // the port's mutex guards it
}

func (h *hostEnd) Read(b []byte) (int, error) {
	p := h.port
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.toHost) == 0 && !h.closed && !p.closed {
		p.moved.Wait()
	}
	if h.closed || len(p.toHost) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.toHost)
	if p.cutIn >= 0 {
		n = min(n, p.cutIn)
		if p.cutIn -= n; p.cutIn == 0 {
			p.cutIn = -1
			h.closeLocked()
		}
	}
	p.toHost = p.toHost[n:]
	p.moved.Broadcast()
	return n, nil
}

func (h *hostEnd) Write(b []byte) (int, error) {
	p := h.port
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.toGuest) > portBytes && !h.closed && !p.closed {
		p.moved.Wait()
	}
	if h.closed || p.closed {
		return 0, io.ErrClosedPipe
	}
	p.toGuest = append(p.toGuest, b...)
	p.moved.Broadcast()
	return len(b), nil
}

func (h *hostEnd) Close() error {
	h.port.mu.Lock()
	defer h.port.mu.Unlock()
	h.closeLocked()
	return nil
}

func (h *hostEnd) closeLocked() {
	h.closed = true
	if h.port.host == h {
		h.port.host = nil
	}
	h.port.moved.Broadcast()
}
