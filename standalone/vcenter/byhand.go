package vcenter

import (
	"context"
	"fmt"
	"net/url"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
)

// asAdministrator calls do with a client of its own.
func (v *Server) asAdministrator(ctx context.Context, do func(*govmomi.Client) error) error {
	at := v.server.URL
	c, err := govmomi.NewClient(ctx, &url.URL{Scheme: at.Scheme, Host: at.Host, Path: at.Path, User: at.User}, true)
	if err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	defer func() { _ = c.Logout(context.WithoutCancel(ctx)) }() // the session ends with the vCenter
	return do(c)
}

// VMs are the instance UUIDs of all VMs by their names.
func (v *Server) VMs(ctx context.Context) (map[string]string, error) {
	names := map[string]string{}
	err := v.asAdministrator(ctx, func(c *govmomi.Client) error {
		all, err := view.NewManager(c.Client).CreateContainerView(ctx, c.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
		if err != nil {
			return err
		}
		var vms []mo.VirtualMachine
		if err := all.Retrieve(ctx, []string{"VirtualMachine"}, []string{"name", "config.instanceUuid"}, &vms); err != nil {
			return err
		}
		for _, vm := range vms {
			names[vm.Name] = vm.Config.InstanceUuid
		}
		return nil
	})
	return names, err
}

// Restart cuts a VM's power and gives it back, as vSphere HA does on another host.
func (v *Server) Restart(ctx context.Context, instanceUUID string) error {
	return v.asAdministrator(ctx, func(c *govmomi.Client) error {
		vm, err := findVM(ctx, c, instanceUUID)
		if err != nil {
			return err
		}
		for _, power := range []func(context.Context) (*object.Task, error){vm.PowerOff, vm.PowerOn} {
			task, err := power(ctx)
			if err != nil {
				return err
			}
			if err := task.Wait(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func findVM(ctx context.Context, c *govmomi.Client, instanceUUID string) (*object.VirtualMachine, error) {
	found, err := object.NewSearchIndex(c.Client).FindByUuid(ctx, nil, instanceUUID, true, new(true))
	if err != nil {
		return nil, err
	}
	vm, ok := found.(*object.VirtualMachine)
	if !ok {
		return nil, fmt.Errorf("no VM has instance UUID %s", instanceUUID)
	}
	return vm, nil
}
