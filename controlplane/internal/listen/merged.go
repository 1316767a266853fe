package listen

import (
	"errors"
	"net"
	"sync"
)

// merged hands out the connections of several listeners.
type merged struct {
	listeners []net.Listener
	accepted  chan accepted
	closed    chan struct{}
	closeOnce sync.Once
	running   sync.WaitGroup
}

type accepted struct {
	conn net.Conn
	err  error
}

// merge takes the listeners over. The first one gives the address.
func merge(listeners ...net.Listener) *merged {
	m := &merged{listeners: listeners, accepted: make(chan accepted), closed: make(chan struct{})}
	for _, l := range listeners {
		m.running.Go(func() { m.accept(l) })
	}
	return m
}

// accept runs until l is closed. An error goes to the caller of Accept, who decides how long to wait before the next
// attempt; until Accept is called again, none is made here.
func (m *merged) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		select {
		case m.accepted <- accepted{conn: conn, err: err}:
		case <-m.closed:
			if conn != nil {
				_ = conn.Close() // nobody has seen it
			}
			return
		}
	}
}

// Accept returns the next connection of any of the listeners.
func (m *merged) Accept() (net.Conn, error) {
	select {
	case a := <-m.accepted:
		return a.conn, a.err
	case <-m.closed:
		return nil, net.ErrClosed
	}
}

// Close closes all listeners and waits for what was accepting on them.
func (m *merged) Close() error {
	var errs []error
	m.closeOnce.Do(func() {
		close(m.closed)
		for _, l := range m.listeners {
			errs = append(errs, l.Close())
		}
		m.running.Wait()
	})
	return errors.Join(errs...)
}

// Addr is the first listener's address.
func (m *merged) Addr() net.Addr { return m.listeners[0].Addr() }
