package kubeletapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"

	"github.com/virtual-kubelet/vic/internal/strangers"
)

const (
	// maxStrangers is how many connections there may be from addresses that nobody has been authenticated from.
	maxStrangers = 256
	// perAddress is how many such connections an address may have, and perKnown how many from an address that somebody has been
	// authenticated from.
	perAddress, perKnown = 32, 512
	// maxKnown is how many such addresses are remembered.
	maxKnown = 1024
	// hostBits6 are those of an IPv6 address that one host chooses as it likes.
	hostBits6 = 64
)

// acquaintances are the addresses that somebody has been authenticated from.
type acquaintances struct {
	mu  sync.Mutex // guards all
	all map[netip.Addr]bool
}

// bound bounds how many connections there are on which nobody has been authenticated.
func (a *acquaintances) bound(on net.Listener) *strangers.Listener {
	return strangers.Bound(on, strangers.Limits{
		Unknown: maxStrangers, PerUnknown: perAddress, PerKnown: perKnown, Source: source, Known: a.has,
	})
}

func (a *acquaintances) has(from netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all[from]
}

// add makes an address known, in the place of any other where there are too many.
func (a *acquaintances) add(from netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all[from] {
		return
	}
	for other := range a.all {
		if len(a.all) < maxKnown {
			break
		}
		delete(a.all, other)
	}
	if a.all == nil {
		a.all = map[netip.Addr]bool{}
	}
	a.all[from] = true
}

// admission is the key of what admits a request's connection.
type admission struct{}

// withAdmission is http.Server's ConnContext.
func (a *acquaintances) withAdmission(ctx context.Context, conn net.Conn) context.Context {
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if c, ok := conn.(*lingeringConn); ok {
		conn = c.halfCloser
	}
	if c, ok := conn.(*strangers.Conn); ok {
		ctx = context.WithValue(ctx, admission{}, func() { a.add(c.Source()); c.Admit() })
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
