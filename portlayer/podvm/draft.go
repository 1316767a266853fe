package podvm

import (
	"context"
	"fmt"

	"github.com/virtual-kubelet/vic/portlayer"
)

// New implements Drafts.
func (h *Host) New(_ context.Context, owner portlayer.Owner) (*portlayer.Handle, error) {
	if _, err := h.store.Dir(owner.UID); err != nil {
		return nil, fmt.Errorf("draft pod VM: %w", err)
	}
	owner.Kind = Kind
	return h.layer.New(owner.UID, owner)
}

// Open implements Drafts.
func (h *Host) Open(_ context.Context, id string) (*portlayer.Handle, error) {
	if h.present(id) == nil {
		return nil, fmt.Errorf("open pod VM %s: %w", id, portlayer.ErrNotFound)
	}
	return h.layer.Draft(id)
}

// Discard implements Drafts.
func (h *Host) Discard(handle *portlayer.Handle) { h.layer.Discard(handle) }

// Commit implements Drafts.
func (h *Host) Commit(ctx context.Context, handle *portlayer.Handle) (VM, error) {
	vm, err := h.layer.Commit(ctx, handle)
	if err != nil {
		return VM{}, err
	}
	if p := h.present(vm.ID()); p != nil {
		return p.view(), nil
	}
	return VM{VM: vm}, nil // it is there, whatever keeps us from seeing it
}

// present returns the pod whose VM the hypervisor has; nil where it has none.
func (h *Host) present(id string) *pod {
	p, err := h.pod(id, false)
	if err != nil || p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.there {
		return nil
	}
	return p
}
