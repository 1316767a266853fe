package portlayer

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// addressRest is how long a freed address is left alone, so that nobody takes its new holder for the former one.
const addressRest = 2 * time.Minute

// ScopeConfig describes a network that VMs join.
type ScopeConfig struct {
	Name string
	// Subnet is the range of the VMs' addresses; it belongs to one VCH.
	Subnet netip.Prefix
	// First and Last are the lowest and the highest address that a VM may have, where that is not the whole subnet.
	First, Last netip.Addr
	// Gateway is the router's address, never given to a VM.
	Gateway netip.Addr
	// MTU is 0 for the network's default.
	MTU int
	// Reserved are more addresses that are never given.
	Reserved []netip.Addr
	// Hardware makes the hardware address of an address; nil makes locally administered ones.
	Hardware func(netip.Addr) net.HardwareAddr
}

// Scope is a network with its address pool. Its leases are what VMs carry and what handles have reserved; nothing of it
// is on disk. It is safe for concurrent use.
type Scope struct {
	config ScopeConfig
	first  netip.Addr // the lowest and the highest address that a VM may have
	last   netip.Addr

	mu      sync.Mutex // guards what follows
	leases  map[netip.Addr]string
	resting map[netip.Addr]rest
	latest  netip.Addr // the address given last, or the highest found in use
}

// rest is a freed address: who had it, and until when nobody else gets it.
type rest struct {
	id    string
	until time.Time
}

// NewScope returns a Scope with nothing leased. It refuses a subnet without room for a VM.
func NewScope(cfg ScopeConfig) (*Scope, error) {
	if cfg.Name == "" {
		return nil, fmt.Errorf("scope with subnet %s has no name", cfg.Subnet)
	}
	if !cfg.Subnet.IsValid() {
		return nil, fmt.Errorf("scope %s has no subnet", cfg.Name)
	}
	if cfg.Gateway.IsValid() && !cfg.Subnet.Contains(cfg.Gateway) {
		return nil, fmt.Errorf("scope %s: gateway %s is outside %s", cfg.Name, cfg.Gateway, cfg.Subnet)
	}
	cfg.Subnet = cfg.Subnet.Masked()
	cfg.Reserved = slices.Clone(cfg.Reserved)
	s := &Scope{
		config:  cfg,
		first:   cfg.Subnet.Addr().Next(),    // the network's own address comes first
		last:    lastAddr(cfg.Subnet).Prev(), // broadcast
		leases:  map[netip.Addr]string{},
		resting: map[netip.Addr]rest{},
	}
	if err := s.narrow(); err != nil {
		return nil, err
	}
	if !s.first.IsValid() || !s.last.IsValid() || s.last.Less(s.first) {
		return nil, fmt.Errorf("scope %s: subnet %s has no room for a VM", cfg.Name, cfg.Subnet)
	}
	s.latest = s.first.Prev()
	return s, nil
}

// narrow keeps to the configured part of the subnet.
func (s *Scope) narrow() error {
	cfg := s.config
	for _, a := range []netip.Addr{cfg.First, cfg.Last} {
		if a.IsValid() && !cfg.Subnet.Contains(a) {
			return fmt.Errorf("scope %s: address %s is outside %s", cfg.Name, a, cfg.Subnet)
		}
	}
	if cfg.First.IsValid() && s.first.Less(cfg.First) {
		s.first = cfg.First
	}
	if cfg.Last.IsValid() && cfg.Last.Less(s.last) {
		s.last = cfg.Last
	}
	return nil
}

// Config returns what the scope was made from.
func (s *Scope) Config() ScopeConfig { return s.config }

// Range is the lowest and the highest address that a VM may have.
func (s *Scope) Range() (first, last netip.Addr) { return s.first, s.last }

// nic reserves an address for id and returns the interface that carries it. ErrNoAddress.
func (s *Scope) nic(id string) (NIC, error) {
	addr, err := s.reserve(id)
	if err != nil {
		return NIC{}, err
	}
	return NIC{
		Scope:     s.config.Name,
		MAC:       s.mac(addr).String(),
		Addresses: []netip.Prefix{netip.PrefixFrom(addr, s.config.Subnet.Bits())},
		Gateways:  s.gateways(),
		MTU:       s.config.MTU,
	}, nil
}

func (s *Scope) gateways() []netip.Addr {
	if !s.config.Gateway.IsValid() {
		return nil
	}
	return []netip.Addr{s.config.Gateway}
}

// reserve takes the address that id had until just now, or else the next one past the latest given.
func (s *Scope) reserve(id string) (netip.Addr, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeLocked(time.Now())
	for addr, r := range s.resting {
		if r.id == id {
			delete(s.resting, addr)
			s.leases[addr] = id
			return addr, nil
		}
	}
	// Of one candidate more than there are taken addresses, one is free.
	addr := s.latest
	for range len(s.leases) + len(s.resting) + len(s.config.Reserved) + 2 {
		if addr = addr.Next(); !addr.IsValid() || s.last.Less(addr) {
			addr = s.first
		}
		if s.freeLocked(addr) {
			s.leases[addr], s.latest = id, addr
			return addr, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("scope %s (%s): %w", s.config.Name, s.config.Subnet, ErrNoAddress)
}

func (s *Scope) freeLocked(addr netip.Addr) bool {
	_, leased := s.leases[addr]
	_, rests := s.resting[addr]
	return !leased && !rests && addr != s.config.Gateway && !slices.Contains(s.config.Reserved, addr)
}

// wakeLocked forgets the addresses that have rested long enough.
func (s *Scope) wakeLocked(now time.Time) {
	for addr, r := range s.resting {
		if !now.Before(r.until) {
			delete(s.resting, addr)
		}
	}
}

// seed records that id's VM carries addr. It reports false for an address of another scope and for one that another
// VM carries already.
func (s *Scope) seed(addr netip.Addr, id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.config.Subnet.Contains(addr) {
		return false
	}
	if holder, ok := s.leases[addr]; ok {
		return holder == id
	}
	delete(s.resting, addr)
	s.leases[addr] = id
	if s.latest.Less(addr) {
		s.latest = addr
	}
	return true
}

// release lets addr rest when id has it; otherwise it does nothing.
func (s *Scope) release(addr netip.Addr, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases[addr] != id {
		return
	}
	delete(s.leases, addr)
	s.resting[addr] = rest{id: id, until: time.Now().Add(addressRest)}
}

// mac derives a locally administered hardware address from an IP address: unique in the scope, and the same again for
// the address's next holder, so that no neighbour's table goes stale.
func (s *Scope) mac(addr netip.Addr) net.HardwareAddr {
	if s.config.Hardware != nil {
		return s.config.Hardware(addr)
	}
	sum := sha256.Sum256([]byte(s.config.Name + "|" + addr.String()))
	m := net.HardwareAddr{0x02, sum[0], sum[1], sum[2], sum[3], sum[4]}
	if addr.Is4() {
		b := addr.As4()
		scope := sha256.Sum256([]byte(s.config.Name + "|" + s.config.Subnet.String()))
		m = net.HardwareAddr{0x02, scope[0], b[0], b[1], b[2], b[3]}
	}
	return m
}

// lastAddr returns the highest address of p.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 1 << (7 - bit%8)
	}
	addr, _ := netip.AddrFromSlice(b) // b has the length of an address
	return addr
}
