package vcsim

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// diskManager answers for first-class disks, by vCenter's names of the calls and by ESXi's.
type diskManager struct {
	mo.VcenterVStorageObjectManager // the simulator wants all its objects to be made of one of these
	disks                           *Disks
}

// CreateDiskTask makes a disk.
func (m *diskManager) CreateDiskTask(ctx *simulator.Context, req *types.CreateDisk_Task) soap.HasFault {
	return &methods.CreateDisk_TaskBody{Res: &types.CreateDisk_TaskResponse{Returnval: m.create(ctx, req.Spec)}}
}

// HostCreateDiskTask is CreateDiskTask of an ESXi host.
func (m *diskManager) HostCreateDiskTask(ctx *simulator.Context, req *types.HostCreateDisk_Task) soap.HasFault {
	return &methods.HostCreateDisk_TaskBody{Res: &types.HostCreateDisk_TaskResponse{Returnval: m.create(ctx, req.Spec)}}
}

func (m *diskManager) create(ctx *simulator.Context, spec types.VslmCreateSpec) types.ManagedObjectReference {
	task := simulator.CreateTask(m, "createDisk", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return m.disks.create(ctx, spec)
	})
	return task.Run(ctx)
}

// RetrieveVStorageObject returns a disk.
func (m *diskManager) RetrieveVStorageObject(ctx *simulator.Context, req *types.RetrieveVStorageObject) soap.HasFault {
	disk, ok := m.disks.retrieve(ctx, req.Id, req.Datastore)
	if !ok {
		return &methods.RetrieveVStorageObjectBody{Fault_: simulator.Fault("", &types.NotFound{})}
	}
	return &methods.RetrieveVStorageObjectBody{Res: &types.RetrieveVStorageObjectResponse{Returnval: disk}}
}

// HostRetrieveVStorageObject is RetrieveVStorageObject of an ESXi host.
func (m *diskManager) HostRetrieveVStorageObject(ctx *simulator.Context, req *types.HostRetrieveVStorageObject) soap.HasFault {
	disk, ok := m.disks.retrieve(ctx, req.Id, req.Datastore)
	if !ok {
		return &methods.HostRetrieveVStorageObjectBody{Fault_: simulator.Fault("", &types.NotFound{})}
	}
	return &methods.HostRetrieveVStorageObjectBody{Res: &types.HostRetrieveVStorageObjectResponse{Returnval: disk}}
}

// SetVStorageObjectControlFlags sets the flags of a disk.
func (m *diskManager) SetVStorageObjectControlFlags(req *types.SetVStorageObjectControlFlags) soap.HasFault {
	if f := m.disks.keep(req.Id, req.ControlFlags); f != nil {
		return &methods.SetVStorageObjectControlFlagsBody{Fault_: simulator.Fault("", f)}
	}
	return &methods.SetVStorageObjectControlFlagsBody{Res: &types.SetVStorageObjectControlFlagsResponse{}}
}

// HostSetVStorageObjectControlFlags is SetVStorageObjectControlFlags of an ESXi host.
func (m *diskManager) HostSetVStorageObjectControlFlags(req *types.HostSetVStorageObjectControlFlags) soap.HasFault {
	if f := m.disks.keep(req.Id, req.ControlFlags); f != nil {
		return &methods.HostSetVStorageObjectControlFlagsBody{Fault_: simulator.Fault("", f)}
	}
	return &methods.HostSetVStorageObjectControlFlagsBody{Res: &types.HostSetVStorageObjectControlFlagsResponse{}}
}
