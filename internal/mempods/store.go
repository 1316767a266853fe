package mempods

import (
	"crypto/rand"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/virtual-kubelet/vic/internal/changes"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

// Store has pod VMs and what is kept of them. It is safe for concurrent use.
type Store struct {
	hub       changes.Hub
	addresses pool

	mu      sync.Mutex // guards what follows; not held while a guest is called, which asks for its disks
	pods    map[string]*pod
	version uint64 // of the latest change of a VM
}

// NewStore returns a store without pod VMs.
func NewStore() *Store {
	return &Store{addresses: pool{taken: map[netip.Addr]bool{}}, pods: map[string]*pod{}}
}

// Kill ends a running VM, as a fault of its hypervisor does; reason is its StopReason.
func (s *Store) Kill(id, reason string) { s.cut(id, reason) }

// podOf returns a copy of a pod. portlayer.ErrNotFound.
func (s *Store) podOf(id string) (*pod, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[id]
	if !ok {
		return nil, portlayer.ErrNotFound
	}
	return p.clone(), nil
}

// vmOf is podOf for a pod whose VM is there.
func (s *Store) vmOf(id string) (*pod, error) {
	p, err := s.podOf(id)
	if err == nil && !p.there() {
		return nil, portlayer.ErrNotFound
	}
	return p, err
}

// list returns copies of all pods.
func (s *Store) list() []*pod {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*pod, 0, len(s.pods))
	for _, p := range s.pods {
		all = append(all, p.clone())
	}
	return all
}

// change has a pod be changed, and says so to those who watch. portlayer.ErrNotFound, or change's error.
func (s *Store) change(id string, change func(p *pod) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[id]
	if !ok {
		return portlayer.ErrNotFound
	}
	if err := change(p); err != nil {
		return err
	}
	s.hub.Notify(id)
	return nil
}

// commit makes a VM of spec, or changes the one that is at version.
func (s *Store) commit(spec portlayer.Spec, version uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.pods[spec.ID]
	if !ok {
		p = &pod{vm: portlayer.VM{State: portlayer.StateRemoved}}
	}
	if err := p.checkCommit(spec, version); err != nil {
		return err
	}
	if version == 0 {
		p.vm = portlayer.VM{State: portlayer.StateCreated, CreatedAt: time.Now()}
		s.pods[spec.ID] = p
	}
	s.version++
	p.vm.Spec, p.vm.Version = spec, s.version
	s.hub.Notify(spec.ID)
	return nil
}

// boot starts a VM with a guest that has greeted. One that runs stays as it is.
func (s *Store) boot(id string) error {
	g := fakeguest.New(fakeguest.Config{
		HasDisk: func(serial string) bool { return s.hasDisk(id, serial) },
		Changed: func() { s.hub.Notify(id) },
	})
	g.SetBootID(rand.Text())
	return s.change(id, func(p *pod) error {
		if !p.there() {
			return portlayer.ErrNotFound
		}
		if p.running() != nil {
			return nil
		}
		p.vm.State, p.vm.StartedAt, p.vm.StopReason = portlayer.StateRunning, time.Now(), ""
		p.boots = append(p.boots, g)
		return nil
	})
}

func (s *Store) hasDisk(id, serial string) bool {
	p, err := s.podOf(id)
	return err == nil && slices.ContainsFunc(p.vm.Spec.Disks, func(d portlayer.Disk) bool { return d.Serial == serial })
}

// cut ends a running VM at once; any other, and a missing one, is left as it is.
func (s *Store) cut(id, reason string) {
	s.end(id, func(p *pod) {
		if p.vm.State == portlayer.StateRunning {
			p.vm.State, p.vm.StopReason = portlayer.StateStopped, reason
		}
	})
}

// remove ends a VM, whether it runs or not, and frees its addresses; a missing one is left as it is.
func (s *Store) remove(id string) {
	s.end(id, func(p *pod) {
		if p.there() {
			p.vm.State = portlayer.StateRemoved
			s.addresses.free(p.vm.Spec.NICs...)
		}
	})
}

// end has a pod be changed to one that does not run, and ends the boot that did.
func (s *Store) end(id string, change func(p *pod)) {
	var boot *fakeguest.Guest
	_ = s.change(id, func(p *pod) error { // a pod that is not known does not run
		boot = p.running()
		change(p)
		return nil
	})
	if boot != nil {
		boot.End()
	}
}

// forget lets go of a pod whose VM is gone. portlayer.ErrExists.
func (s *Store) forget(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.pods[id]; ok && p.there() {
		return portlayer.ErrExists
	}
	delete(s.pods, id)
	s.hub.Notify(id)
	return nil
}
