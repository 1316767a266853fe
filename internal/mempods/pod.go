package mempods

import (
	"fmt"
	"slices"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/portlayer/portlayertest/fakeguest"
)

// pod is one pod VM, or what is kept of it; the store's mutex guards it.
type pod struct {
	vm     portlayer.VM // StateRemoved when it is gone
	boots  []*fakeguest.Guest
	record []byte
}

// clone returns a copy that may be read without the store's mutex.
func (p *pod) clone() *pod {
	c := *p
	c.vm.Spec = p.vm.Spec.Clone()
	return &c
}

func (p *pod) there() bool { return p.vm.State != portlayer.StateRemoved }

// checkCommit says why a handle that was opened at version cannot be committed.
func (p *pod) checkCommit(spec portlayer.Spec, version uint64) error {
	switch {
	case !spec.Boot.HasGuest():
		return fmt.Errorf("boot without a guest: %w", portlayer.ErrUnsupported)
	case len(spec.Volumes()) > 0:
		return fmt.Errorf("disks with a life of their own: %w", portlayer.ErrUnsupported)
	case version == 0 && p.there():
		return portlayer.ErrExists
	case version == 0:
		return nil
	case !p.there():
		return portlayer.ErrNotFound
	case version != p.vm.Version:
		return portlayer.ErrStaleHandle
	case p.running() != nil && (spec.Size != p.vm.Spec.Size || !slices.EqualFunc(spec.NICs, p.vm.Spec.NICs, portlayer.NIC.Equal)):
		return fmt.Errorf("another size or network while it runs: %w", portlayer.ErrUnsupported)
	}
	return nil
}

// running is the guest of a VM that runs; nil of any other.
func (p *pod) running() *fakeguest.Guest {
	if p.vm.State != portlayer.StateRunning {
		return nil
	}
	return p.boots[len(p.boots)-1]
}

// latest returns the latest boot in which a pod was configured: what any other says is no news of containers. Where there was
// none it is the latest boot, and nil before the first.
func (p *pod) latest() *fakeguest.Guest {
	for _, g := range slices.Backward(p.boots) {
		if g.Pod() != nil {
			return g
		}
	}
	if len(p.boots) == 0 {
		return nil
	}
	return p.boots[len(p.boots)-1]
}

// view is the pod VM as callers see it.
func (p *pod) view() podvm.VM {
	v := podvm.VM{VM: p.vm, Record: p.record}
	latest := p.latest()
	if latest != nil {
		s := latest.Snapshot()
		v.Guest, v.LogsComplete = &s, true // there is no copy of a log that could be behind
	}
	if boot := p.running(); boot != nil {
		v.Greeted, v.Current = true, latest == boot
	}
	return v
}
