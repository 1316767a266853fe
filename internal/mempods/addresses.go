package mempods

import (
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/virtual-kubelet/vic/portlayer"
)

// Scope is the one network that VMs join.
const Scope = "pods"

var (
	subnet  = netip.MustParsePrefix("10.9.0.0/24")
	gateway = netip.MustParseAddr("10.9.0.1")
)

// pool has the addresses of Scope.
type pool struct {
	mu    sync.Mutex // guards taken
	taken map[netip.Addr]bool
}

// reserve is the portlayer.Reserve of all handles.
func (p *pool) reserve(_, scope string) (nic portlayer.NIC, release func(), err error) {
	if scope != Scope {
		return portlayer.NIC{}, nil, fmt.Errorf("join scope %q: %w", scope, portlayer.ErrNotFound)
	}
	addr, ok := p.take()
	if !ok {
		return portlayer.NIC{}, nil, fmt.Errorf("join scope %q: %w", scope, portlayer.ErrNoAddress)
	}
	b := addr.As4()
	nic = portlayer.NIC{
		Scope:     Scope,
		MAC:       net.HardwareAddr{0x02, 0, b[0], b[1], b[2], b[3]}.String(),
		Addresses: []netip.Prefix{netip.PrefixFrom(addr, subnet.Bits())},
		Gateways:  []netip.Addr{gateway},
	}
	return nic, sync.OnceFunc(func() { p.free(nic) }), nil
}

// take returns the lowest address that nobody has; the last one of the subnet is broadcast.
func (p *pool) take() (netip.Addr, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr := gateway.Next(); subnet.Contains(addr.Next()); addr = addr.Next() {
		if !p.taken[addr] {
			p.taken[addr] = true
			return addr, true
		}
	}
	return netip.Addr{}, false
}

func (p *pool) free(nics ...portlayer.NIC) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, nic := range nics {
		for _, a := range nic.Addresses {
			delete(p.taken, a.Addr())
		}
	}
}
