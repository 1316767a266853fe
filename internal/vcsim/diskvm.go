package vcsim

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// diskVM is the simulator's VM, with first-class disks.
type diskVM struct {
	*simulator.VirtualMachine
	disks *Disks
}

// BeforeCall has a session see VMs that have first-class disks in the place of the simulator's: what a session's own
// registry has comes before what is in the inventory, where the simulator insists on its own type.
func (d *Disks) BeforeCall(ctx *simulator.Context, method *simulator.Method) {
	if ctx.Session == nil {
		return
	}
	session := ctx.Session.Registry
	shown, has := session.Get(method.This).(*diskVM)
	vm, ok := ctx.Map.Get(method.This).(*simulator.VirtualMachine)
	switch {
	case has && !ok:
		session.Remove(ctx, shown.Self) // a test has put something else in the VM's place
		return
	case has || !ok:
		return
	}
	d.mu.Lock()
	d.sessions[session] = true
	d.mu.Unlock()
	ctx.WithLock(vm, func() {
		if ctx.Map.Get(method.This) != nil { // it may be gone meanwhile
			session.Put(&diskVM{vm, d})
		}
	})
}

// Reference implements simulator.RegisterObject, as all that follow.
func (d *Disks) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "SimulatedDisks", Value: "disks"}
}

// PutObject takes no notice.
func (d *Disks) PutObject(*simulator.Context, mo.Reference) {}

// UpdateObject takes no notice.
func (d *Disks) UpdateObject(*simulator.Context, mo.Reference, []types.PropertyChange) {}

// RemoveObject forgets a VM that is gone.
func (d *Disks) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	if ref.Type != "VirtualMachine" {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.sessions {
		if s.Get(ref) != nil {
			s.Remove(ctx, ref)
		}
	}
}

// AttachDiskTask gives the VM a disk.
func (d *diskVM) AttachDiskTask(ctx *simulator.Context, req *types.AttachDisk_Task) soap.HasFault {
	return &methods.AttachDisk_TaskBody{Res: &types.AttachDisk_TaskResponse{
		Returnval: d.runChange(ctx, "attachDisk", func() (*types.ReconfigVM_Task, types.BaseMethodFault) {
			return d.disks.Attach(d.VirtualMachine, req)
		}),
	}}
}

// DetachDiskTask takes a disk from the VM.
func (d *diskVM) DetachDiskTask(ctx *simulator.Context, req *types.DetachDisk_Task) soap.HasFault {
	return &methods.DetachDisk_TaskBody{Res: &types.DetachDisk_TaskResponse{
		Returnval: d.runChange(ctx, "detachDisk", func() (*types.ReconfigVM_Task, types.BaseMethodFault) {
			return d.disks.Detach(d.VirtualMachine, req)
		}),
	}}
}

// DestroyTask spares the disks that outlive the VM.
func (d *diskVM) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{
		Returnval: d.run(ctx, "destroy", func() types.BaseMethodFault { return d.disks.Destroy(ctx, d.VirtualMachine, req) }),
	}}
}

// run runs what do does as a task of the VM.
func (d *diskVM) run(ctx *simulator.Context, name string, do func() types.BaseMethodFault) types.ManagedObjectReference {
	task := simulator.CreateTask(d, name, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { return nil, do() })
	return task.Run(ctx)
}

// runChange is run for what changes the VM.
func (d *diskVM) runChange(
	ctx *simulator.Context, name string, change func() (*types.ReconfigVM_Task, types.BaseMethodFault),
) types.ManagedObjectReference {
	return d.run(ctx, name, func() types.BaseMethodFault {
		req, fault := change()
		if fault != nil {
			return fault
		}
		return d.reconfigure(ctx, req)
	})
}

// reconfigure has the simulator change the VM.
func (d *diskVM) reconfigure(ctx *simulator.Context, change *types.ReconfigVM_Task) types.BaseMethodFault {
	body, ok := d.ReconfigVMTask(ctx, change).(*methods.ReconfigVM_TaskBody)
	if !ok || body.Res == nil {
		return &types.InvalidState{}
	}
	return await(ctx, body.Res.Returnval)
}

// await waits for a task of the simulator's own.
func await(ctx *simulator.Context, ref types.ManagedObjectReference) types.BaseMethodFault {
	task, ok := ctx.Map.Get(ref).(*simulator.Task)
	if !ok {
		return &types.InvalidState{}
	}
	task.Wait()
	if task.Info.Error != nil {
		return task.Info.Error.Fault
	}
	return nil
}
