package vcenter

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"
)

// AttachDiskTask gives the VM, and its QEMU if it has one, a first-class disk.
func (q *qemuVM) AttachDiskTask(ctx *simulator.Context, req *types.AttachDisk_Task) soap.HasFault {
	return &methods.AttachDisk_TaskBody{Res: &types.AttachDisk_TaskResponse{
		Returnval: q.runChange(ctx, "attachDisk", func() (*types.ReconfigVM_Task, types.BaseMethodFault) {
			return q.v.volumes.Attach(q.VirtualMachine, req)
		}),
	}}
}

// DetachDiskTask takes a first-class disk from the VM, and from its QEMU if it has one.
func (q *qemuVM) DetachDiskTask(ctx *simulator.Context, req *types.DetachDisk_Task) soap.HasFault {
	return &methods.DetachDisk_TaskBody{Res: &types.DetachDisk_TaskResponse{
		Returnval: q.runChange(ctx, "detachDisk", func() (*types.ReconfigVM_Task, types.BaseMethodFault) {
			return q.v.volumes.Detach(q.VirtualMachine, req)
		}),
	}}
}

// DestroyTask leaves the first-class disks that are to be kept.
func (q *qemuVM) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) soap.HasFault {
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{
		Returnval: q.run(ctx, "destroy", func() types.BaseMethodFault { return q.v.volumes.Destroy(ctx, q.VirtualMachine, req) }),
	}}
}

// runChange is run for what changes the VM.
func (q *qemuVM) runChange(
	ctx *simulator.Context, name string, change func() (*types.ReconfigVM_Task, types.BaseMethodFault),
) types.ManagedObjectReference {
	return q.run(ctx, name, func() types.BaseMethodFault {
		req, fault := change()
		if fault != nil {
			return fault
		}
		return q.reconfigure(ctx, req)
	})
}

// MakeDisk makes a first-class disk of as many MiB and returns its ID, which is a volume handle of the vSphere CSI driver.
func (v *Server) MakeDisk(ctx context.Context, name string, sizeMiB int64) (id string, err error) {
	err = v.asAdministrator(ctx, func(c *govmomi.Client) error {
		task, err := vslm.NewObjectManager(c.Client).CreateDisk(ctx, types.VslmCreateSpec{
			Name: name, CapacityInMB: sizeMiB,
			BackingSpec: &types.VslmCreateSpecDiskFileBackingSpec{
				VslmCreateSpecBackingSpec: types.VslmCreateSpecBackingSpec{Datastore: v.datastore()},
			},
		})
		if err != nil {
			return err
		}
		info, err := task.WaitForResult(ctx)
		if err != nil {
			return err
		}
		disk, ok := info.Result.(types.VStorageObject)
		if !ok {
			return fmt.Errorf("task has made %T and no disk", info.Result)
		}
		id = disk.Config.Id.Id
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("make disk %s: %w", name, err)
	}
	return id, nil
}

// HasDisk reports whether there is a first-class disk with that ID.
func (v *Server) HasDisk(id string) bool {
	_, ok := v.volumes.Get(id)
	return ok
}

// datastore is the only one.
func (v *Server) datastore() types.ManagedObjectReference {
	return v.model.Map().Any("Datastore").Reference()
}

// Destroy cuts a VM's power and deletes it with its files, as an administrator may do.
func (v *Server) Destroy(ctx context.Context, instanceUUID string) error {
	return v.asAdministrator(ctx, func(c *govmomi.Client) error {
		vm, err := findVM(ctx, c, instanceUUID)
		if err != nil {
			return err
		}
		for _, end := range []func(context.Context) (*object.Task, error){vm.PowerOff, vm.Destroy} {
			task, err := end(ctx)
			if err == nil {
				err = task.Wait(ctx)
			}
			if err != nil {
				return fmt.Errorf("destroy VM %s: %w", instanceUUID, err)
			}
		}
		return nil
	})
}
