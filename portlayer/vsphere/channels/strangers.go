package channels

import (
	"maps"
	"net"
	"net/netip"

	"golang.org/x/time/rate"

	"github.com/virtual-kubelet/vic/internal/strangers"
)

const (
	// maxStrangers is how many connections there may be from addresses that no VM has, none of which has shown a certificate.
	maxStrangers = 64
	// perAddress is how many such connections an address may have.
	perAddress = 4
	// handshakes are how many new connections a VM's address may have in a second, after handshakeBurst at once; a guest needs two
	// for each boot, and one more where its channel broke. All addresses that no VM has share strangerHandshakes.
	handshakes         = 2
	handshakeBurst     = 20
	strangerHandshakes = 16
	// quietAddresses is how many addresses are remembered of which nothing is to be held against.
	quietAddresses = 1024
)

// bound bounds how many connections there are that have shown nothing yet. Addresses of VMs have places of their own.
func bound(on net.Listener, known func(netip.Addr) bool) *strangers.Listener {
	return strangers.Bound(on, strangers.Limits{
		Unknown: maxStrangers, PerUnknown: perAddress, PerKnown: perAddress, Source: source, Known: known, Allow: rates{}.allow,
	})
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
