package strangers

import (
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// Limits say how many strangers there may be. Known addresses have places of their own, which no other address takes.
type Limits struct {
	// Unknown is how many there may be from all addresses that are not known; one more is closed at once.
	Unknown int
	// PerUnknown is how many an address may have that is not known, and PerKnown one that is: of one more the oldest is closed.
	PerUnknown, PerKnown int
	// Source returns the address for which a connection from HOST:PORT counts.
	Source func(remote string) netip.Addr
	// Known reports whether an address is known. It is asked once for each connection.
	Known func(netip.Addr) bool
	// Allow reports whether an address may have a new connection now; nil always allows it. It is called by one goroutine at a time.
	Allow func(from netip.Addr, known bool) bool
}

// Listener is a listener with such limits.
type Listener struct {
	net.Listener
	limits Limits

	mu      sync.Mutex // guards what follows
	unknown int        // connections from addresses that are not known
	from    map[netip.Addr][]*Conn
}

// Bound bounds the connections of a listener.
func Bound(on net.Listener, limits Limits) *Listener {
	return &Listener{Listener: on, limits: limits, from: map[netip.Addr][]*Conn{}}
}

// Accept implements [net.Listener]. What it returns is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := l.limits.Source(conn.RemoteAddr().String())
		if c, ok := l.take(conn, from, l.limits.Known(from)); ok {
			return c, nil
		}
		_ = conn.Close() // nothing was said
	}
}

func (l *Listener) take(conn net.Conn, from netip.Addr, known bool) (*Conn, bool) {
	l.mu.Lock()
	if l.limits.Allow != nil && !l.limits.Allow(from, known) || !known && l.unknown >= l.limits.Unknown {
		l.mu.Unlock()
		return nil, false
	}
	c := &Conn{Conn: conn, from: from}
	c.leave = sync.OnceFunc(func() { l.giveBack(c, known) })
	limit := l.limits.PerKnown
	if !known {
		limit = l.limits.PerUnknown
		l.unknown++
	}
	l.from[from] = append(l.from[from], c)
	var oldest *Conn
	if all := l.from[from]; len(all) > limit {
		oldest = all[0]
	}
	l.mu.Unlock()
	if oldest != nil {
		_ = oldest.Close() // it had its time
	}
	return c, true
}

func (l *Listener) giveBack(c *Conn, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !known {
		l.unknown--
	}
	l.from[c.from] = slices.DeleteFunc(l.from[c.from], func(o *Conn) bool { return o == c })
	if len(l.from[c.from]) == 0 {
		delete(l.from, c.from)
	}
}

// Conn is a connection that counts until it is admitted or closed.
type Conn struct {
	net.Conn
	from  netip.Addr
	leave func()
}

// Source is the address that the connection counts for.
func (c *Conn) Source() netip.Addr { return c.from }

// Admit takes the connection out of the count.
func (c *Conn) Admit() { c.leave() }

// Close implements [net.Conn].
func (c *Conn) Close() error {
	c.leave()
	return c.Conn.Close()
}

// CloseWrite closes the half that is written to; [errors.ErrUnsupported] where the connection has none.
func (c *Conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// Admit admits a connection of a Listener, and does nothing with another one.
func Admit(conn net.Conn) {
	if c, ok := conn.(*Conn); ok {
		c.Admit()
	}
}
