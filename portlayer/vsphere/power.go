package vsphere

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
)

// PowerOn notes in the VM that it was started, and starts it.
func (h *Hypervisor) PowerOn(ctx context.Context, uid string) error {
	m, giveBack, err := h.change(ctx, uid)
	if err == nil {
		defer giveBack()
		err = h.powerOn(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("power on pod VM %s: %w", uid, translate(err))
	}
	return nil
}

func (h *Hypervisor) powerOn(ctx context.Context, m machine) error {
	if m.on {
		return nil
	}
	before := m.record.power
	boot, hash, err := h.bootBlob(m)
	if err != nil {
		return err
	}
	// A token is worth nothing before its hash is there, and both come with the note.
	m.record.join = join{TokenHash: hash}
	if err := h.notePower(ctx, &m, power{StartedAt: time.Now().UTC()}, boot, option(keyJoin, m.record.join)); err != nil {
		return err
	}
	task, err := h.vm(m).PowerOn(ctx)
	_, err = h.tasks.await(ctx, task, err)
	switch {
	case err == nil, fault.Is(err, &types.InvalidPowerState{}):
		return h.seen.read(ctx, []types.ManagedObjectReference{m.ref})
	case errors.Is(err, errTaskLost), lost(err), ctx.Err() != nil:
		return err // it may run
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	return errors.Join(notStarted(m, err), h.notePower(undo, &m, before))
}

// undoTimeout is how long it may take to undo what failed.
const undoTimeout = 30 * time.Second

// notePower has the VM carry what we do with its power, and more.
func (h *Hypervisor) notePower(ctx context.Context, m *machine, p power, more ...types.BaseOptionValue) error {
	task, err := h.vm(*m).Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: append(more, option(keyPower, p))})
	if _, err := h.tasks.await(ctx, task, err); err != nil {
		return fmt.Errorf("note the power: %w", err)
	}
	m.record.power = p
	h.seen.put(*m)
	return nil
}

// PowerOff pulls the plug.
func (h *Hypervisor) PowerOff(ctx context.Context, uid string) error {
	m, giveBack, err := h.change(ctx, uid)
	if errors.Is(err, portlayer.ErrNotFound) {
		return nil
	}
	if err == nil {
		defer giveBack()
		err = h.powerOff(ctx, m)
	}
	if err != nil {
		return fmt.Errorf("power off pod VM %s: %w", uid, translate(err))
	}
	return nil
}

func (h *Hypervisor) powerOff(ctx context.Context, m machine) error {
	if !m.on {
		return nil
	}
	// The note comes first: a VM that is off without it stopped by itself.
	off := m.record.power
	off.Off = true
	if err := h.notePower(ctx, &m, off); err != nil {
		return err
	}
	return h.cutPower(ctx, m)
}

// cutPower stops a VM, whose end is noted or that is about to go.
func (h *Hypervisor) cutPower(ctx context.Context, m machine) error {
	if !m.on {
		return nil
	}
	task, err := h.vm(m).PowerOff(ctx)
	_, err = h.tasks.await(ctx, task, err)
	if err != nil && !fault.Is(err, &types.InvalidPowerState{}) {
		return err
	}
	h.seen.putOff(m)
	return nil
}
