package vcenter

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// ReconfigVMTask changes what the simulator knows, and the disks of the QEMU that runs.
func (q *qemuVM) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{
		Returnval: q.run(ctx, "reconfigVm", func() types.BaseMethodFault { return q.reconfigure(ctx, req) }),
	}}
}

func (q *qemuVM) reconfigure(ctx *simulator.Context, req *types.ReconfigVM_Task) types.BaseMethodFault {
	p := q.v.current(q.Self)
	if p == nil {
		return q.record(ctx, req)
	}
	if fault := q.checkLive(req.Spec); fault != nil {
		return fault
	}
	deadline, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := q.unplug(deadline, p, req.Spec.DeviceChange); err != nil {
		return fault(fmt.Errorf("remove disk: %w", err))
	}
	before, err := q.v.disks(q.Config.Hardware.Device)
	if err != nil {
		return fault(err)
	}
	if failed := q.record(ctx, req); failed != nil {
		return failed
	}
	if err := q.plugNew(deadline, p, before); err != nil {
		q.v.log.Warn("disk of a simulated VM not added", "moref", q.Self.Value, "err", err)
		if failed := q.record(ctx, q.undo(req, before)); failed != nil {
			return failed
		}
		return fault(err)
	}
	return nil
}

// record has the simulator do its part.
func (q *qemuVM) record(ctx *simulator.Context, req *types.ReconfigVM_Task) types.BaseMethodFault {
	answer, ok := q.VirtualMachine.ReconfigVMTask(ctx, req).(*methods.ReconfigVM_TaskBody)
	if !ok || answer.Res == nil {
		return &types.InvalidState{}
	}
	return await(ctx, answer, &answer.Res.Returnval)
}

// checkLive refuses what a VM that runs can't have changed.
func (q *qemuVM) checkLive(spec types.VirtualMachineConfigSpec) types.BaseMethodFault {
	if spec.NumCPUs != 0 && spec.NumCPUs != q.Config.Hardware.NumCPU {
		return &types.CpuHotPlugNotSupported{}
	}
	if spec.MemoryMB != 0 && spec.MemoryMB != int64(q.Config.Hardware.MemoryMB) {
		return &types.MemoryHotPlugNotSupported{}
	}
	for _, change := range spec.DeviceChange {
		c := change.GetVirtualDeviceConfigSpec()
		if _, ok := c.Device.(*types.VirtualDisk); !ok || c.Operation == types.VirtualDeviceConfigSpecOperationEdit {
			return fault(fmt.Errorf("%s %T while the VM runs: only disks are simulated", c.Operation, c.Device))
		}
	}
	return nil
}

func (q *qemuVM) unplug(ctx context.Context, p *process, changes []types.BaseVirtualDeviceConfigSpec) error {
	disks, err := q.v.disks(q.Config.Hardware.Device)
	if err != nil {
		return err
	}
	for _, change := range changes {
		c := change.GetVirtualDeviceConfigSpec()
		if c.Operation != types.VirtualDeviceConfigSpecOperationRemove {
			continue
		}
		key := c.Device.GetVirtualDevice().Key
		i := slices.IndexFunc(disks, func(d disk) bool { return d.key == key })
		if i < 0 {
			continue
		}
		if err := p.unplug(ctx, disks[i]); err != nil {
			return err
		}
	}
	return nil
}

// plugNew adds the disks that are not among before. After an error it has added none.
func (q *qemuVM) plugNew(ctx context.Context, p *process, before []disk) error {
	disks, err := q.v.disks(q.Config.Hardware.Device)
	if err != nil {
		return err
	}
	var added []disk
	for _, d := range disks {
		if has(before, d) {
			continue
		}
		if err = q.v.makeDisk(ctx, d); err == nil {
			err = p.plug(ctx, d)
		}
		if err != nil {
			err = fmt.Errorf("add disk: %w", err)
			break
		}
		added = append(added, d)
	}
	if err == nil {
		return nil
	}
	for _, d := range added {
		err = errors.Join(err, p.unplug(ctx, d))
	}
	return err
}

// undo takes out again the disks that are not among before.
func (q *qemuVM) undo(req *types.ReconfigVM_Task, before []disk) *types.ReconfigVM_Task {
	undo := &types.ReconfigVM_Task{This: req.This}
	for _, d := range q.Config.Hardware.Device {
		if vd, ok := d.(*types.VirtualDisk); ok && !slices.ContainsFunc(before, func(b disk) bool { return b.key == vd.Key }) {
			undo.Spec.DeviceChange = append(undo.Spec.DeviceChange, &types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: vd,
				FileOperation: types.VirtualDeviceConfigSpecFileOperationDestroy,
			})
		}
	}
	return undo
}

func has(disks []disk, d disk) bool {
	return slices.ContainsFunc(disks, func(other disk) bool { return other.key == d.key })
}
