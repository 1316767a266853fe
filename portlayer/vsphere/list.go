package vsphere

import (
	"context"
	"fmt"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

// List returns the pod VMs in a folder and below it by their instance UUIDs, whichever VCH has made them. It needs no open
// VCH, reads once and changes nothing. Paths are as in Config.
func List(ctx context.Context, s *Session, datacenter, folder string) (map[string]portlayer.VM, error) {
	vms, err := list(ctx, s, datacenter, folder)
	if err != nil {
		return nil, fmt.Errorf("list VMs: %w", vcenter.Translate(err))
	}
	return vms, nil
}

func list(ctx context.Context, s *Session, datacenter, folder string) (map[string]portlayer.VM, error) {
	finder := find.NewFinder(s.client)
	dc, err := finder.DatacenterOrDefault(ctx, datacenter)
	if err != nil {
		return nil, fmt.Errorf("datacenter: %w", err)
	}
	in, err := finder.SetDatacenter(dc).FolderOrDefault(ctx, folder)
	if err != nil {
		return nil, fmt.Errorf("VM folder: %w", err)
	}
	v, err := view.NewManager(s.client).CreateContainerView(ctx, in.Reference(), []string{"VirtualMachine"}, true)
	if err != nil {
		return nil, err
	}
	defer destroy(ctx, v)
	var all []mo.VirtualMachine
	if err := v.Retrieve(ctx, []string{"VirtualMachine"}, vmFacts, &all); err != nil {
		return nil, err
	}
	vms := map[string]portlayer.VM{}
	for _, read := range all {
		vm, ours, err := readVM(read)
		if err != nil {
			return nil, err
		}
		if ours {
			vms[vm.uuid] = vm.view()
		}
	}
	return vms, nil
}
