package portlayer

import (
	"context"
	"fmt"
)

// PowerOn starts the VM and returns once it executes and observers have seen that. began is false for a VM that ran
// already. ErrNotFound, ErrOutOfMemory, *PowerError.
func (l *Layer) PowerOn(ctx context.Context, id string) (began bool, err error) {
	giveBack, err := l.turns.Take(ctx, id)
	if err != nil {
		return false, fmt.Errorf("power on VM %s: %w", id, err)
	}
	defer giveBack()
	vm, ok := l.Get(id)
	if !ok {
		return false, fmt.Errorf("power on VM %s: %w", id, ErrNotFound)
	}
	if vm.State != StateRunning && !vm.State.CanBecome(StateRunning) {
		return false, fmt.Errorf("power on VM %s in state %s: %w", id, vm.State, ErrNotRunning)
	}
	if err := l.hypervisor.PowerOn(ctx, id); err != nil {
		_ = l.Refresh(ctx) // the loop tries again; PowerOn's error says more
		return false, err
	}
	return vm.State != StateRunning, l.Refresh(ctx)
}

// PowerOff stops the VM at once, as pulling the plug does. A stopped or missing one is not an error.
func (l *Layer) PowerOff(ctx context.Context, id string) error {
	giveBack, err := l.turns.Take(ctx, id)
	if err != nil {
		return fmt.Errorf("power off VM %s: %w", id, err)
	}
	defer giveBack()
	return l.cut(ctx, id)
}

func (l *Layer) cut(ctx context.Context, id string) error {
	if err := l.hypervisor.PowerOff(ctx, id); err != nil {
		return err
	}
	return l.Refresh(ctx)
}

// Destroy removes the VM, a running one too, and releases its addresses. A missing one is not an error.
func (l *Layer) Destroy(ctx context.Context, id string) error {
	giveBack, err := l.turns.Take(ctx, id)
	if err != nil {
		return fmt.Errorf("destroy VM %s: %w", id, err)
	}
	defer giveBack()
	if vm, ok := l.Get(id); ok && !vm.State.CanBecome(StateRemoved) {
		if err := l.cut(ctx, id); err != nil {
			return err
		}
	}
	if err := l.hypervisor.Destroy(ctx, id); err != nil {
		return err
	}
	return l.Refresh(ctx)
}

// Alone runs do while no other call changes the VM of that ID.
func (l *Layer) Alone(ctx context.Context, id string, do func(vm VM, there bool) error) error {
	giveBack, err := l.turns.Take(ctx, id)
	if err != nil {
		return err
	}
	defer giveBack()
	vm, there := l.Get(id)
	return do(vm, there)
}
