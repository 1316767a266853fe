package portlayer

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// ensureAtOnce is how many image disks of one VM are made at a time.
const ensureAtOnce = 4

// New drafts a VM that is not there yet. ErrExists.
func (l *Layer) New(id string, owner Owner) (*Handle, error) {
	if _, ok := l.Get(id); ok {
		return nil, fmt.Errorf("draft VM %s: %w", id, ErrExists)
	}
	return l.draft(Spec{ID: id, Owner: owner}, 0), nil
}

// Draft drafts changes to a VM. ErrNotFound.
func (l *Layer) Draft(id string) (*Handle, error) {
	vm, ok := l.Get(id)
	if !ok {
		return nil, fmt.Errorf("draft changes to VM %s: %w", id, ErrNotFound)
	}
	return l.draft(vm.Spec, vm.Version), nil
}

func (l *Layer) draft(spec Spec, version uint64) *Handle {
	h := NewHandle(spec, version, l.reserve)
	h.commits = l.commitsTo(spec.ID)
	return h
}

func (l *Layer) commitsTo(id string) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.committed[id]
}

// reserve is the Reserve of this layer's handles.
func (l *Layer) reserve(id, scope string) (NIC, func(), error) {
	s, ok := l.scopes[scope]
	if !ok {
		return NIC{}, nil, fmt.Errorf("join scope %q: %w", scope, ErrNotFound)
	}
	nic, err := s.nic(id)
	if err != nil {
		return NIC{}, nil, err
	}
	return nic, func() {
		for _, a := range nic.Addresses {
			if !l.carries(id, a.Addr()) {
				s.release(a.Addr(), id)
			}
		}
	}, nil
}

// Discard gives back what an uncommitted h reserved. It does nothing to a committed one.
func (l *Layer) Discard(h *Handle) { h.Release() }

// Commit makes the image disks that are missing, and then creates or updates the VM. It returns once the hypervisor has
// accepted every change and observers have seen the VM. ErrStaleHandle when the VM changed since h was opened. After any
// error h is spent: Discard it, open another, replay.
func (l *Layer) Commit(ctx context.Context, h *Handle) (VM, error) {
	giveBack, err := l.turns.Take(ctx, h.ID())
	if err != nil {
		return VM{}, fmt.Errorf("commit VM %s: %w", h.ID(), err)
	}
	defer giveBack()
	if err := l.begin(h); err != nil {
		return VM{}, fmt.Errorf("commit VM %s: %w", h.ID(), err)
	}
	vm, err := l.commit(ctx, h)
	if err != nil {
		return VM{}, err
	}
	if err := l.Refresh(ctx); err == nil {
		if now, ok := l.Get(h.ID()); ok {
			return now, nil
		}
	}
	return vm, nil // it is there, whatever keeps us from seeing it
}

func (l *Layer) commit(ctx context.Context, h *Handle) (VM, error) {
	if err := l.commits.Acquire(ctx, 1); err != nil {
		return VM{}, fmt.Errorf("commit VM %s: %w", h.ID(), err)
	}
	defer l.commits.Release(1)
	spec := h.Spec()
	if err := l.ensureDisks(ctx, &spec, h.sources); err != nil {
		return VM{}, err
	}
	vm, err := l.apply(ctx, spec, h.version)
	if err != nil {
		if errors.Is(err, ErrStaleHandle) || errors.Is(err, ErrExists) || errors.Is(err, ErrNotFound) {
			// The next Draft must see what this handle did not. Where it fails, the loop tries again.
			_ = l.Refresh(ctx)
		}
		return VM{}, err
	}
	h.Keep()
	l.mu.Lock()
	l.committed[h.ID()]++
	l.mu.Unlock()
	return vm, nil
}

// begin spends h and refuses it where the VM changed since it was opened, also by a hypervisor that would not notice.
func (l *Layer) begin(h *Handle) error {
	if h.commits != l.commitsTo(h.ID()) {
		h.spent = true
	}
	if err := h.Spend(); err != nil {
		return err
	}
	vm, there := l.Get(h.ID())
	switch {
	case h.version == 0 && there:
		return ErrExists
	case h.version == 0:
		return nil
	case !there:
		return ErrNotFound
	case vm.Version != h.version:
		return ErrStaleHandle
	}
	return nil
}

func (l *Layer) apply(ctx context.Context, spec Spec, version uint64) (VM, error) {
	if version == 0 {
		return l.hypervisor.Create(ctx, spec)
	}
	return l.hypervisor.Update(ctx, spec, version)
}

// ensureDisks has the hypervisor make the disks of sources and writes their names into spec.
func (l *Layer) ensureDisks(ctx context.Context, spec *Spec, sources map[string]DiskSource) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(ensureAtOnce)
	for i := range spec.Disks {
		src, ok := sources[spec.Disks[i].Serial]
		if !ok {
			continue
		}
		g.Go(func() error {
			ref, err := l.hypervisor.EnsureDisk(gctx, src)
			spec.Disks[i].Ref = ref // of no other goroutine
			return err
		})
	}
	return g.Wait()
}

// CollectDisks deletes image disks that no VM has and that keep does not want. ErrBusy while a handle is committed, whose
// disks no VM has yet.
func (l *Layer) CollectDisks(ctx context.Context, keep func(DiskRef) bool) error {
	if !l.commits.TryAcquire(commitSlots) {
		return fmt.Errorf("collect disks: %w", ErrBusy)
	}
	defer l.commits.Release(commitSlots)
	return l.hypervisor.CollectDisks(ctx, keep)
}
