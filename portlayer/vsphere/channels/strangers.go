package channels

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/time/rate"
)

const (
	// maxStrangers is how many connections there may be from addresses that no VM has, none of which has shown a certificate.
	maxStrangers = 64
	// perAddress is how many such connections an address may have: of one more the oldest goes.
	perAddress = 4
	// handshakes are how many new connections a VM's address may have in a second, after handshakeBurst at once; a guest needs two
	// for each boot, and one more where its channel broke. All addresses that no VM has share strangerHandshakes.
	handshakes         = 2
	handshakeBurst     = 20
	strangerHandshakes = 16
	// quietAddresses is how many addresses are remembered of which nothing is to be held against.
	quietAddresses = 1024
)

// strangers is a listener that bounds how many connections there are that have shown nothing yet. Addresses of VMs have
// places of their own, which nobody else can take.
type strangers struct {
	net.Listener
	known func(netip.Addr) bool

	mu      sync.Mutex // guards what follows
	unknown int        // connections from addresses that no VM has
	from    map[netip.Addr][]*stranger
	rates   rates
}

func newStrangers(on net.Listener, known func(netip.Addr) bool) *strangers {
	return &strangers{Listener: on, known: known, from: map[netip.Addr][]*stranger{}, rates: rates{}}
}

// rates are how many connections addresses have left; the zero address is all that no VM has.
type rates map[netip.Addr]*rate.Limiter

// allow takes one of an address's connections, and reports whether it had any left.
func (r rates) allow(from netip.Addr, known bool) bool {
	limit, burst := rate.Limit(handshakes), handshakeBurst
	if !known {
		from, limit, burst = netip.Addr{}, strangerHandshakes, maxStrangers
	}
	if r[from] == nil {
		if len(r) >= quietAddresses {
			maps.DeleteFunc(r, func(_ netip.Addr, l *rate.Limiter) bool { return l.Tokens() >= float64(l.Burst()) })
		}
		r[from] = rate.NewLimiter(limit, burst)
	}
	return r[from].Allow()
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
	if !s.rates.allow(from, known) || !known && s.unknown >= maxStrangers {
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
