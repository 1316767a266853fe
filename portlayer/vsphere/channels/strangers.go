package channels

import (
	"net"
	"net/netip"
	"sync"
)

const (
	// maxStrangers is how many connections there may be that have shown no certificate, and perAddress how many of them
	// from one address.
	maxStrangers = 256
	perAddress   = 4
)

// strangers is a listener that drops connections of strangers beyond the bounds at once.
type strangers struct {
	net.Listener

	mu   sync.Mutex // guards what follows
	all  int
	from map[netip.Addr]int
}

func newStrangers(on net.Listener) *strangers {
	return &strangers{Listener: on, from: map[netip.Addr]int{}}
}

// Accept implements net.Listener.
func (s *strangers) Accept() (net.Conn, error) {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := source(conn.RemoteAddr().String())
		if s.take(from) {
			return &stranger{Conn: conn, leave: sync.OnceFunc(func() { s.giveBack(from) })}, nil
		}
		_ = conn.Close() // nothing was said
	}
}

func (s *strangers) take(from netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStrangers || s.from[from] >= perAddress {
		return false
	}
	s.all++
	s.from[from]++
	return true
}

func (s *strangers) giveBack(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.from[from]--; s.from[from] == 0 {
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

// admit takes a connection out of the count.
func admit(conn net.Conn) {
	if s, ok := conn.(*stranger); ok {
		s.leave()
	}
}
