package vsphere

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// PowerOn starts the VM. What it was made with serves its first boot. Before each other one the VM gets what that boot
// needs, and carries that it was started; of the first one it carries that when its guest joins, or when it ends.
func (h *Hypervisor) PowerOn(ctx context.Context, uid string) error {
	vm, giveBack, err := h.change(ctx, uid)
	if err == nil {
		defer giveBack()
		err = h.powerOn(ctx, vm)
	}
	if err != nil {
		return fmt.Errorf("power on VM %s: %w", uid, vcenter.Translate(err))
	}
	return nil
}

func (h *Hypervisor) powerOn(ctx context.Context, vm ownedVM) error {
	if vm.on {
		return nil
	}
	before, fresh := vm.record.power, vm.armed && vm.startedAt().IsZero()
	if !fresh {
		var err error
		// A token that a running guest has read must stay: the answer to a power-on may have got lost.
		if vm, err = h.lookAgain(ctx, vm); err != nil || vm.on {
			return err
		}
		before = vm.record.power
	}
	if err := h.volumes.restore(ctx, vm); err != nil {
		return err
	}
	if !fresh {
		if err := h.noteStart(ctx, &vm); err != nil {
			return err
		}
	}
	began := time.Now().UTC()
	err := h.start(ctx, vm)
	if !fresh && fault.Is(err, &types.InvalidPowerState{}) {
		// Somebody has powered it on just before: its guest may have read the former token, which is worth nothing any more.
		err = h.startAnew(ctx, vm)
	}
	switch {
	case err == nil, fault.Is(err, &types.InvalidPowerState{}):
		vm.ranAt = began
		h.seen.put(vm)
		return h.seen.read(ctx, []types.ManagedObjectReference{vm.ref})
	case errors.Is(err, vcenter.ErrTaskLost), vcenter.Lost(err), ctx.Err() != nil:
		return err // it may run
	}
	err = vcenter.NotStarted(err)
	if fresh {
		return err
	}
	undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	return errors.Join(err, h.notePower(undo, &vm, before))
}

func (h *Hypervisor) start(ctx context.Context, vm ownedVM) error {
	task, err := h.vm(vm).PowerOn(ctx)
	_, err = h.tasks.await(ctx, task, err)
	return err
}

// startAnew pulls the plug of a VM that has only begun to boot, and starts it.
func (h *Hypervisor) startAnew(ctx context.Context, vm ownedVM) error {
	task, err := h.vm(vm).PowerOff(ctx)
	_, err = h.tasks.await(ctx, task, err)
	if err != nil && !fault.Is(err, &types.InvalidPowerState{}) {
		return err
	}
	return h.start(ctx, vm)
}

// lookAgain reads a VM. ErrNotFound.
func (h *Hypervisor) lookAgain(ctx context.Context, vm ownedVM) (ownedVM, error) {
	if err := h.seen.read(ctx, []types.ManagedObjectReference{vm.ref}); err != nil {
		return vm, err
	}
	return h.seen.find(vm.uid())
}

// noteStart writes into the VM that it is about to start, with what that boot needs.
func (h *Hypervisor) noteStart(ctx context.Context, vm *ownedVM) error {
	boot, err := h.armBoot(vm)
	if err != nil {
		return err
	}
	return h.notePower(ctx, vm, power{StartedAt: time.Now().UTC()}, boot...)
}

// noteEnds has VMs that ended before their guests had joined carry that they ran, until ctx ends: the next process can't
// know that otherwise.
func (h *Hypervisor) noteEnds(ctx context.Context) {
	for uid := range h.Watch(ctx) {
		if vm, err := h.seen.find(uid); err != nil || !vm.endedUnnoted() {
			continue
		}
		if err := h.noteEnd(ctx, uid); err != nil && ctx.Err() == nil {
			logging.From(ctx).WarnContext(ctx, "end of a pod VM not noted", "vm", uid, "err", err)
		}
	}
}

func (h *Hypervisor) noteEnd(ctx context.Context, uid string) error {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	vm, giveBack, err := h.change(ctx, uid)
	if errors.Is(err, portlayer.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer giveBack()
	if !vm.endedUnnoted() {
		return nil // it was started again, or its end was noted
	}
	return vcenter.Translate(h.notePower(ctx, &vm, vm.power()))
}

// undoTimeout is how long it may take to undo what failed.
const undoTimeout = 30 * time.Second

// notePower writes into the VM what we do with its power, and more.
func (h *Hypervisor) notePower(ctx context.Context, vm *ownedVM, p power, more ...types.BaseOptionValue) error {
	task, err := h.vm(*vm).Reconfigure(ctx, types.VirtualMachineConfigSpec{ExtraConfig: append(more, option(keyPower, p))})
	if _, err := h.tasks.await(ctx, task, err); err != nil {
		return fmt.Errorf("note the power: %w", err)
	}
	vm.record.power = p
	h.seen.put(*vm)
	return nil
}

// PowerOff pulls the plug.
func (h *Hypervisor) PowerOff(ctx context.Context, uid string) error {
	vm, giveBack, err := h.change(ctx, uid)
	if errors.Is(err, portlayer.ErrNotFound) {
		return nil
	}
	if err == nil {
		defer giveBack()
		err = h.powerOff(ctx, vm)
	}
	if err != nil {
		return fmt.Errorf("power off VM %s: %w", uid, vcenter.Translate(err))
	}
	return nil
}

func (h *Hypervisor) powerOff(ctx context.Context, vm ownedVM) error {
	if !vm.on {
		return nil
	}
	// The note comes first: a VM that is off without it stopped by itself.
	off := vm.power()
	off.Off = true
	if err := h.notePower(ctx, &vm, off); err != nil {
		return err
	}
	return h.cutPower(ctx, vm)
}

// cutPower stops a VM, whose end is noted or that is about to go.
func (h *Hypervisor) cutPower(ctx context.Context, vm ownedVM) error {
	if !vm.on {
		return nil
	}
	task, err := h.vm(vm).PowerOff(ctx)
	_, err = h.tasks.await(ctx, task, err)
	if err != nil && !fault.Is(err, &types.InvalidPowerState{}) {
		return err
	}
	h.seen.putOff(vm)
	return nil
}
