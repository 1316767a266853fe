package channels

import (
	"net"
	"net/netip"
	"slices"
	"sync"
)

const (
	// maxStrangers is how many connections there may be from addresses that no VM has, none of which has shown a certificate.
	maxStrangers = 64
	// perAddress is how many such connections an address may have: of one more the oldest goes.
	perAddress = 4
)

// strangers is a listener that bounds how many connections there are that have shown nothing yet. Addresses of VMs have
// places of their own, which nobody else can take.
type strangers struct {
	net.Listener
	known func(netip.Addr) bool

	mu      sync.Mutex // guards what follows
	unknown int        // connections from addresses that no VM has
	from    map[netip.Addr][]*stranger
}

func newStrangers(on net.Listener, known func(netip.Addr) bool) *strangers {
	return &strangers{Listener: on, known: known, from: map[netip.Addr][]*stranger{}}
}

// Accept implements net.Listener.
func (s *strangers) Accept() (net.Conn, error) {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		address := source(conn.RemoteAddr().String())
		if c, ok := s.take(conn, address, s.known(address)); ok {
			return c, nil
		}
		_ = conn.Close() // nothing was said
	}
}

func (s *strangers) take(conn net.Conn, from netip.Addr, known bool) (*stranger, bool) {
	s.mu.Lock()
	if !known && s.unknown >= maxStrangers {
		s.mu.Unlock()
		return nil, false
	}
	c := &stranger{Conn: conn}
	c.leave = sync.OnceFunc(func() { s.giveBack(c, from, known) })
	if !known {
		s.unknown++
	}
	s.from[from] = append(s.from[from], c)
	var oldest *stranger
	if all := s.from[from]; len(all) > perAddress {
		oldest = all[0]
	}
	s.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close() // it had its time
	}
	return c, true
}

func (s *strangers) giveBack(c *stranger, from netip.Addr, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !known {
		s.unknown--
	}
	s.from[from] = slices.DeleteFunc(s.from[from], func(o *stranger) bool { return o == c })
	if len(s.from[from]) == 0 {
		delete(s.from, from)
	}
}

// stranger is a connection that counts until it is admitted or closed.
type stranger struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (s *stranger) Close() error {
	s.leave()
	return s.Conn.Close()
}

// admitted takes a connection out of the count.
func admitted(conn net.Conn) {
	if s, ok := conn.(*stranger); ok {
		s.leave()
	}
}
