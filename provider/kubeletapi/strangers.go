package kubeletapi

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
)

const (
	// maxStrangers is how many connections there may be from addresses that nobody has been authenticated from.
	maxStrangers = 256
	// perAddress is how many such connections an address may have, and perKnown how many from an address that somebody has been
	// authenticated from: of one more the oldest goes.
	perAddress, perKnown = 32, 512
	// maxKnown is how many such addresses are remembered.
	maxKnown = 1024
	// hostBits6 are those of an IPv6 address that one host chooses as it likes.
	hostBits6 = 64
)

// strangers is a listener that bounds how many connections there are on which nobody has been authenticated: whoever reaches
// the port can open them, and each takes a descriptor. Addresses that somebody has been authenticated from have places of
// their own, which no other address takes.
type strangers struct {
	net.Listener

	mu      sync.Mutex // guards what follows
	unknown int        // connections from addresses that are not known
	from    map[netip.Addr][]*stranger
	known   map[netip.Addr]bool
}

func newStrangers(on net.Listener) *strangers {
	return &strangers{Listener: on, from: map[netip.Addr][]*stranger{}, known: map[netip.Addr]bool{}}
}

// Accept implements [net.Listener].
func (s *strangers) Accept() (net.Conn, error) {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := s.take(conn); ok {
			return c, nil
		}
		_ = conn.Close() // nothing was said
	}
}

func (s *strangers) take(conn net.Conn) (*stranger, bool) {
	from := source(conn.RemoteAddr().String())
	s.mu.Lock()
	known := s.known[from]
	if !known && s.unknown >= maxStrangers {
		s.mu.Unlock()
		return nil, false
	}
	c := &stranger{Conn: conn}
	c.leave = sync.OnceFunc(func() { s.giveBack(c, from, known) })
	c.admit = func() { s.remember(from); c.leave() }
	limit := perKnown
	if !known {
		limit = perAddress
		s.unknown++
	}
	s.from[from] = append(s.from[from], c)
	var oldest *stranger
	if all := s.from[from]; len(all) > limit {
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

// remember makes an address known, in the place of any other where there are too many.
func (s *strangers) remember(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[from] {
		return
	}
	for other := range s.known {
		if len(s.known) < maxKnown {
			break
		}
		delete(s.known, other)
	}
	s.known[from] = true
}

// stranger is a connection that counts until somebody is authenticated on it, or it is closed.
type stranger struct {
	net.Conn
	leave, admit func()
}

// Close implements [net.Conn].
func (s *stranger) Close() error {
	s.leave()
	return s.Conn.Close()
}

// CloseWrite makes it a halfCloser.
func (s *stranger) CloseWrite() error {
	if half, ok := s.Conn.(halfCloser); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// admission is the key of what admits a request's connection.
type admission struct{}

// withAdmission is http.Server's ConnContext.
func withAdmission(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if c, ok := conn.(*lingeringConn); ok {
		conn = c.halfCloser
	}
	if c, ok := conn.(*stranger); ok {
		ctx = context.WithValue(ctx, admission{}, c.admit)
	}
	return ctx
}

// admit says that somebody has been authenticated on the connection of a request.
func admit(ctx context.Context) {
	if admit, ok := ctx.Value(admission{}).(func()); ok {
		admit()
	}
}

// source is whom connections from HOST:PORT are counted for; the zero address are those that are not one.
func source(address string) netip.Addr {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return netip.Addr{}
	}
	from := at.Addr().Unmap().WithZone("")
	if from.Is6() {
		net, err := from.Prefix(hostBits6)
		if err == nil {
			return net.Addr()
		}
	}
	return from
}
