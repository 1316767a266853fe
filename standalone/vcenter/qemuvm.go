package vcenter

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/vcsim"
	"github.com/virtual-kubelet/vic/portlayer/qemu/cgroup"
	"github.com/virtual-kubelet/vic/portlayer/qemu/procfs"
)

// startTimeout is how long QEMU may take until it answers, on a machine that is busy.
const startTimeout = time.Minute

// qemuVM is the simulator's VM with a QEMU: its tasks are the simulator's, with what QEMU has to do added. All of them
// hold the simulator's lock of the VM.
type qemuVM struct {
	*simulator.VirtualMachine
	v *Server
}

// intercept has a session see machines in the place of the simulator's VMs: what a session's own registry has comes before
// what is in the inventory, where the simulator insists on its own type.
func (v *Server) intercept(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if ctx.Session == nil {
		return nil, nil //nolint:nilnil // the simulator goes on by itself
	}
	if fault := v.forbids(method); fault != nil {
		return nil, fault
	}
	vcsim.BeforeCall(ctx, method)
	session := ctx.Session.Registry
	v.mu.Lock()
	v.sessions[session] = true
	v.mu.Unlock()
	vm, ok := ctx.Map.Get(method.This).(*simulator.VirtualMachine)
	if !ok || session.Get(method.This) != nil {
		return nil, nil //nolint:nilnil // as above
	}
	ctx.WithLock(vm, func() {
		if ctx.Map.Get(method.This) != nil { // it may be gone meanwhile
			session.Put(&qemuVM{vm, v})
		}
	})
	return nil, nil //nolint:nilnil // as above
}

// observer hears from the simulator what changes. It implements simulator.RegisterObject.
type observer struct{ v *Server }

// Reference implements mo.Reference.
func (observer) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "SimulatedObserver", Value: "observer"}
}

// PutObject lets a new pool use what its limits leave of the host.
func (o observer) PutObject(_ *simulator.Context, obj mo.Reference) {
	if pool, ok := obj.(*simulator.ResourcePool); ok {
		o.v.host.furnish(pool)
	}
}

// UpdateObject notes the leases of imports.
func (o observer) UpdateObject(_ *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	if lease, ok := obj.(*mo.HttpNfcLease); ok {
		o.v.leases.update(lease.Self, changes)
	}
}

// RemoveObject forgets a VM that is gone.
func (o observer) RemoveObject(ctx *simulator.Context, ref types.ManagedObjectReference) {
	o.v.leases.drop(ref)
	if ref.Type != "VirtualMachine" {
		return // a session that logs out holds its registry while it removes its views
	}
	o.v.mu.Lock()
	defer o.v.mu.Unlock()
	for s := range o.v.sessions {
		if s.Get(ref) != nil {
			s.Remove(ctx, ref)
		}
	}
}

// PowerOnVMTask starts QEMU and then reports that the VM is on.
func (q *qemuVM) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) soap.HasFault {
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{
		Returnval: q.run(ctx, "powerOn", func() types.BaseMethodFault { return q.powerOn(ctx, req) }),
	}}
}

// PowerOffVMTask ends QEMU and then reports that the VM is off.
func (q *qemuVM) PowerOffVMTask(ctx *simulator.Context, req *types.PowerOffVM_Task) soap.HasFault {
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{
		Returnval: q.run(ctx, "powerOff", func() types.BaseMethodFault { return q.powerOff(ctx, req) }),
	}}
}

// ResetVMTask is both: the guest finds what is new for it, as after any power-on.
func (q *qemuVM) ResetVMTask(ctx *simulator.Context, req *types.ResetVM_Task) soap.HasFault {
	return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{
		Returnval: q.run(ctx, "reset", func() types.BaseMethodFault {
			if fault := q.powerOff(ctx, &types.PowerOffVM_Task{This: req.This}); fault != nil {
				return fault
			}
			return q.powerOn(ctx, &types.PowerOnVM_Task{This: req.This})
		}),
	}}
}

// SuspendVMTask is refused.
func (q *qemuVM) SuspendVMTask(*simulator.Context, *types.SuspendVM_Task) soap.HasFault {
	return &methods.SuspendVM_TaskBody{Fault_: simulator.Fault("a simulated VM can't be suspended", &types.NotSupported{})}
}

// ShutdownGuest is refused: there are no VMware Tools that could do it.
func (q *qemuVM) ShutdownGuest(ctx *simulator.Context, req *types.ShutdownGuest) soap.HasFault {
	if q.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
		return q.VirtualMachine.ShutdownGuest(ctx, req)
	}
	return &methods.ShutdownGuestBody{Fault_: simulator.Fault("", &types.ToolsUnavailable{})}
}

// run runs what do does as a task of the VM.
func (q *qemuVM) run(ctx *simulator.Context, name string, do func() types.BaseMethodFault) types.ManagedObjectReference {
	task := simulator.CreateTask(q, name, func(*simulator.Task) (types.AnyType, types.BaseMethodFault) { return nil, do() })
	return task.Run(ctx)
}

// await waits for a task of the simulator's own, or returns the fault that it answered with instead.
func await(ctx *simulator.Context, answer soap.HasFault, task *types.ManagedObjectReference) types.BaseMethodFault {
	if f := answer.Fault(); f != nil {
		if fault, ok := f.VimFault().(types.BaseMethodFault); ok {
			return fault
		}
		return fault(errors.New(f.String))
	}
	t, ok := ctx.Map.Get(*task).(*simulator.Task)
	if !ok {
		return fault(fmt.Errorf("task %s is gone", task.Value))
	}
	t.Wait()
	if t.Info.Error != nil {
		return t.Info.Error.Fault
	}
	return nil
}

func (q *qemuVM) powerOn(ctx *simulator.Context, req *types.PowerOnVM_Task) types.BaseMethodFault {
	if q.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOff && !q.Config.Template {
		if err := q.v.boot(q.VirtualMachine); err != nil {
			q.v.log.Warn("simulated VM not started", "moref", q.Self.Value, "err", err)
			return fault(err)
		}
	}
	answer, ok := q.VirtualMachine.PowerOnVMTask(ctx, req).(*methods.PowerOnVM_TaskBody)
	if !ok || answer.Res == nil {
		return &types.InvalidState{} // it is a template, whose QEMU was not started
	}
	failed := await(ctx, answer, &answer.Res.Returnval)
	if _, already := failed.(*types.InvalidPowerState); failed != nil && !already {
		q.v.end(q.Self)
	}
	return failed
}

func (q *qemuVM) powerOff(ctx *simulator.Context, req *types.PowerOffVM_Task) types.BaseMethodFault {
	q.v.end(q.Self)
	answer, ok := q.VirtualMachine.PowerOffVMTask(ctx, req).(*methods.PowerOffVM_TaskBody)
	if !ok || answer.Res == nil {
		return &types.InvalidState{}
	}
	return await(ctx, answer, &answer.Res.Returnval)
}

// boot starts a VM's QEMU. The caller holds the VM's lock.
func (v *Server) boot(vm *simulator.VirtualMachine) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	line, err := v.commandLine(ctx, vm)
	if err != nil {
		return err
	}
	p, err := spawn(ctx, v.config.Binary, line)
	if err != nil {
		return err
	}
	if err := procfs.SetOOMScore(p.cmd.Process.Pid, procfs.VMScore); err != nil {
		v.log.Warn("simulated VM may be ended late when memory runs out", "moref", vm.Self.Value, "err", err)
	}
	ref, uuid := vm.Self, vm.Config.InstanceUuid
	release := v.weigh(ctx, vm, p)
	v.mu.Lock()
	if v.closed {
		v.mu.Unlock()
		p.stop()
		release()
		return errors.New("vCenter is being closed")
	}
	v.running[ref], v.consoles[uuid] = p, p.console
	v.watches.Add(1)
	v.mu.Unlock()
	go func() { // ends with QEMU
		defer v.watches.Done()
		<-p.ended
		release()
		v.noteEnd(ref, p)
	}()
	return nil
}

// weigh gives a VM's QEMU the shares of the processors that the VM has, as vSphere does, so that VMs which want more than there
// is leave the host's other processes and VCHs their part. With systemd they share that of the unit which we are in.
func (v *Server) weigh(ctx context.Context, vm *simulator.VirtualMachine, p *process) (release func()) {
	if cgroup.SystemdRuns() {
		return func() {}
	}
	g := cgroup.Group{VCH: v.config.Dir, UID: vm.Config.InstanceUuid}
	if a := vm.Config.CpuAllocation; a != nil && a.Shares != nil {
		g.CPUMilli = int64(a.Shares.Shares)
	}
	if err := cgroup.Join(ctx, g, p.cmd.Process.Pid); err != nil {
		v.log.DebugContext(ctx, "simulated VM has no share of the processors", "moref", vm.Self.Value, "err", err)
	}
	dirs := cgroup.Of(p.cmd.Process.Pid, g.VCH, g.UID)
	return func() { cgroup.Release(context.WithoutCancel(ctx), g.UID, dirs) }
}

// current is the QEMU of a VM, nil when it has none.
func (v *Server) current(ref types.ManagedObjectReference) *process {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.running[ref]
}

// take is current, for whoever sees to the end of the process.
func (v *Server) take(ref types.ManagedObjectReference) *process {
	v.mu.Lock()
	defer v.mu.Unlock()
	p := v.running[ref]
	delete(v.running, ref)
	return p
}

// end ends a VM's QEMU, if it has one.
func (v *Server) end(ref types.ManagedObjectReference) {
	if p := v.take(ref); p != nil {
		p.stop()
	}
}

// noteEnd reports that a VM is off whose QEMU ended by itself.
func (v *Server) noteEnd(ref types.ManagedObjectReference, p *process) {
	if v.current(ref) != p {
		return // whoever ended it reports that
	}
	ctx := v.newContext()
	vm, ok := ctx.Map.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return
	}
	ctx.WithLock(vm, func() {
		if v.current(ref) != p {
			return
		}
		m := &qemuVM{vm, v}
		if f := m.powerOff(ctx, &types.PowerOffVM_Task{This: ref}); f != nil {
			v.log.Error("simulated VM that ended not powered off", "moref", vm.Self.Value, "err", fmt.Sprintf("%T", f))
		}
	})
}

// fault is an error in the form that vSphere gives to what it can't do with a VM.
func fault(err error) types.BaseMethodFault {
	return &types.GenericVmConfigFault{Reason: err.Error()}
}
