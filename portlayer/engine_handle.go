package portlayer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sync/errgroup"
)

// ensureAtOnce is how many image disks of one pod are made at a time.
const ensureAtOnce = 4

// New drafts a VM that is not there yet. ErrExists.
func (e *Engine) New(_ context.Context, id Identity) (*Handle, error) {
	if _, err := e.store.Dir(id.UID); err != nil {
		return nil, fmt.Errorf("draft pod VM: %w", err)
	}
	if p := e.present(id.UID); p != nil {
		return nil, fmt.Errorf("draft pod VM %s: %w", id.UID, ErrExists)
	}
	return e.handle(VMSpec{Identity: id}, 0), nil
}

// Open drafts changes to the VM of that pod. ErrNotFound.
func (e *Engine) Open(_ context.Context, uid string) (*Handle, error) {
	p := e.present(uid)
	if p == nil {
		return nil, fmt.Errorf("open pod VM %s: %w", uid, ErrNotFound)
	}
	vm := p.view().VM
	return e.handle(vm.Spec, vm.Version), nil
}

func (e *Engine) handle(spec VMSpec, version uint64) *Handle {
	return &Handle{spec: spec, version: version, commits: e.committed(spec.Identity.UID), join: e.join}
}

// present returns the pod whose VM the hypervisor has; nil where it has none.
func (e *Engine) present(uid string) *pod {
	p, err := e.pod(uid, false)
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

func (e *Engine) committed(uid string) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changes[uid]
}

// join reserves an address in scope for h.
func (e *Engine) join(h *Handle, scope string) error {
	s, ok := e.scopes[scope]
	if !ok {
		return fmt.Errorf("join scope %q: %w", scope, ErrNotFound)
	}
	nic, err := s.nic(h.UID())
	if err != nil {
		return err
	}
	h.spec.NICs = append(h.spec.NICs, nic)
	others := h.release
	h.release = func() {
		if others != nil {
			others()
		}
		if !e.carries(h.UID(), nic.Address.Addr()) {
			s.release(nic.Address.Addr(), h.UID())
		}
	}
	return nil
}

// carries tells whether the VM has that address, whoever gave it.
func (e *Engine) carries(uid string, addr netip.Addr) bool {
	p := e.present(uid)
	if p == nil {
		return false
	}
	for _, nic := range p.view().Spec.NICs {
		if nic.Address.Addr() == addr {
			return true
		}
	}
	return false
}

// Discard gives back what an uncommitted h reserved. It does nothing to a committed one.
func (e *Engine) Discard(h *Handle) {
	h.spent = true
	h.once.Do(func() {
		if h.release != nil {
			h.release()
		}
	})
}

// Commit makes the image disks that are missing, and then creates or updates the VM.
func (e *Engine) Commit(ctx context.Context, h *Handle) (PodVM, error) {
	giveBack, err := e.turns.Take(ctx, h.UID())
	if err != nil {
		return PodVM{}, fmt.Errorf("commit pod VM %s: %w", h.UID(), err)
	}
	defer giveBack()
	vm, err := e.commit(ctx, h)
	if err != nil {
		return PodVM{}, fmt.Errorf("commit pod VM %s: %w", h.UID(), err)
	}
	if err := e.refresh(ctx); err == nil {
		if p := e.present(h.UID()); p != nil {
			return p.view(), nil
		}
	}
	return PodVM{VM: vm}, nil // it is there, whatever keeps us from seeing it
}

func (e *Engine) commit(ctx context.Context, h *Handle) (VM, error) {
	if err := e.begin(h); err != nil {
		return VM{}, err
	}
	if err := e.commits.Acquire(ctx, 1); err != nil {
		return VM{}, err
	}
	defer e.commits.Release(1)
	spec := h.spec.Clone()
	if err := e.ensureDisks(ctx, &spec, h.sources); err != nil {
		return VM{}, err
	}
	vm, err := e.apply(ctx, spec, h.version)
	if err != nil {
		if errors.Is(err, ErrStaleHandle) || errors.Is(err, ErrExists) || errors.Is(err, ErrNotFound) {
			// The next Open must see what this handle did not. Where it fails, the loop tries again.
			_ = e.refresh(ctx)
		}
		return VM{}, err
	}
	h.once.Do(func() {}) // the VM has the addresses now
	e.mu.Lock()
	e.changes[h.UID()]++
	e.mu.Unlock()
	return vm, nil
}

// begin spends h and refuses it where the VM changed since it was opened, also by a hypervisor that would not notice.
func (e *Engine) begin(h *Handle) error {
	if h.spent || h.commits != e.committed(h.UID()) {
		return ErrStaleHandle
	}
	h.spent = true
	p := e.present(h.UID())
	switch {
	case h.version == 0 && p != nil:
		return ErrExists
	case h.version == 0:
		return nil
	case p == nil:
		return ErrNotFound
	case p.view().Version != h.version:
		return ErrStaleHandle
	}
	return nil
}

func (e *Engine) apply(ctx context.Context, spec VMSpec, version uint64) (VM, error) {
	if version == 0 {
		return e.config.Hypervisor.Create(ctx, spec)
	}
	return e.config.Hypervisor.Update(ctx, spec, version)
}

// ensureDisks has the hypervisor make the disks of sources and writes their names into spec.
func (e *Engine) ensureDisks(ctx context.Context, spec *VMSpec, sources []imageSource) error {
	refs := make([]DiskRef, len(sources))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(ensureAtOnce)
	for i, s := range sources {
		g.Go(func() error {
			ref, err := e.config.Hypervisor.EnsureDisk(gctx, s.source)
			if err != nil {
				return fmt.Errorf("make disk %s: %w", s.source.Digest, err)
			}
			refs[i] = ref
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, s := range sources {
		for j := range spec.Disks {
			if spec.Disks[j].Serial == s.serial {
				spec.Disks[j].Ref = refs[i]
			}
		}
	}
	return nil
}
