package testvcenter

import (
	"reflect"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// search is the simulator's, that also stands VMs without a configuration. As in vCenter, and not on ESXi, it finds these too.
type search struct {
	*simulator.SearchIndex
	hidden map[string]types.ManagedObjectReference // by instance UUID
}

func addSearch(m *simulator.Registry) *search {
	ref := *m.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content.SearchIndex
	s := &search{m.Get(ref).(*simulator.SearchIndex), map[string]types.ManagedObjectReference{}}
	m.Put(s)
	return s
}

// FindByUuid is the call of that name; the registry has calls of one object come one at a time.
func (s *search) FindByUuid(ctx *simulator.Context, req *types.FindByUuid) soap.HasFault {
	body := &methods.FindByUuidBody{Res: new(types.FindByUuidResponse)}
	if ref, ok := s.hidden[req.Uuid]; ok && ctx.Map.Get(ref) != nil {
		body.Res.Returnval = &ref
		return body
	}
	for _, vm := range ctx.Map.All("VirtualMachine") {
		config, _ := reflect.TypeAssert[*types.VirtualMachineConfigInfo](reflect.Indirect(reflect.ValueOf(vm)).FieldByName("Config"))
		if config == nil {
			continue
		}
		id := config.Uuid
		if req.InstanceUuid != nil && *req.InstanceUuid {
			id = config.InstanceUuid
		}
		if id == req.Uuid {
			body.Res.Returnval = new(vm.Reference())
			return body
		}
	}
	return body
}

// Hide has a VM without its configuration, as when its host is away, until show is called.
func (s *Server) Hide(ref types.ManagedObjectReference) (show func()) {
	s.Helper()
	vm, ok := s.Model.Map().Get(ref).(*simulator.VirtualMachine)
	require.True(s, ok)
	ctx := s.Model.Service.Context
	config := vm.Config
	change := func(to *types.VirtualMachineConfigInfo, state types.VirtualMachineConnectionState) {
		ctx.WithLock(vm, func() {
			ctx.Update(vm, []types.PropertyChange{{Name: "runtime.connectionState", Val: state}})
			vm.Config = to
		})
	}
	s.search.hidden[config.InstanceUuid] = ref
	change(nil, types.VirtualMachineConnectionStateDisconnected)
	return func() {
		delete(s.search.hidden, config.InstanceUuid)
		change(config, types.VirtualMachineConnectionStateConnected)
	}
}

// Forget has vSphere not find the VMs that Hide has hidden, as ESXi does not.
func (s *Server) Forget() { clear(s.search.hidden) }
