package channels

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
)

// VMs are those whose guests may dial in.
type VMs interface {
	// Guest returns what is known of a VM; false where there is none.
	Guest(vm string) (VM, bool)
	// Join keeps that a boot has joined with a key. It fails where another one was faster.
	Join(ctx context.Context, vm, boot string, key [32]byte) error
	// Refresh asks vSphere about a VM whose state may have changed just now.
	Refresh(ctx context.Context, vm string) error
	// HasAddress reports whether a VM was given the address.
	HasAddress(a netip.Addr) bool
	// Rebooted says that a guest has booted anew within a power-on: it has the token, and another key.
	Rebooted(ctx context.Context, vm, boot string) error
}

// several are the VMs of all VCHs that a Listener takes guests of. It is safe for concurrent use.
type several struct {
	mu   sync.Mutex // guards what follows
	all  map[int]VMs
	next int
}

func (s *several) add(vms VMs) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[int]VMs{}
	}
	place := s.next
	s.next++
	s.all[place] = vms
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.all, place)
	}
}

// list is asked without the lock: vSphere may take long to answer.
func (s *several) list() []VMs {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.all))
}

// owner is the VCH that has a VM; instance UUIDs are unique.
func (s *several) owner(vm string) (VMs, VM, bool) {
	for _, vms := range s.list() {
		if known, ok := vms.Guest(vm); ok {
			return vms, known, true
		}
	}
	return nil, VM{}, false
}

func (s *several) Guest(vm string) (VM, bool) {
	_, known, ok := s.owner(vm)
	return known, ok
}

func (s *several) Join(ctx context.Context, vm, boot string, key [32]byte) error {
	owner, _, ok := s.owner(vm)
	if !ok {
		return fmt.Errorf("VM %s is gone", vm)
	}
	return owner.Join(ctx, vm, boot, key)
}

func (s *several) Refresh(ctx context.Context, vm string) error {
	if owner, _, ok := s.owner(vm); ok {
		return owner.Refresh(ctx, vm)
	}
	return nil
}

func (s *several) HasAddress(a netip.Addr) bool {
	for _, vms := range s.list() {
		if vms.HasAddress(a) {
			return true
		}
	}
	return false
}

func (s *several) Rebooted(ctx context.Context, vm, boot string) error {
	if owner, _, ok := s.owner(vm); ok {
		return owner.Rebooted(ctx, vm, boot)
	}
	return nil
}
