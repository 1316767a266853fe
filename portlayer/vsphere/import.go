package vsphere

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/nfc"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/task"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/internal/ctxio"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/internal/wait"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/vmdk"
)

// leaseBeat is how often vSphere hears that an import goes on; it gives up after five minutes.
const leaseBeat = 30 * time.Second

// make imports the content as the disk of a VM that is there for nothing else, and moves the disk to its name when it is
// whole: an upload to the datastore would be a file that no VM can have.
func (d *imageDisks) make(ctx context.Context, src portlayer.DiskSource, ref portlayer.DiskRef) error {
	content, err := src.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	// The size has to be known before the first byte is sent.
	packed := &counter{}
	if err := vmdk.Write(packed, ctxio.NewReader(ctx, content), src.SizeBytes); err != nil {
		return err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	lease, err := d.h.place.pool.ImportVApp(ctx, &types.VirtualMachineImportSpec{ConfigSpec: d.importSpec(src, ref)}, d.h.place.folder, nil)
	if err != nil {
		return fmt.Errorf("begin import: %w", err)
	}
	info, err := lease.Wait(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin import: %w", err)
	}
	vm := object.NewVirtualMachine(d.h.client, info.Entity)
	if err := d.upload(ctx, lease, info, packed.n, func(w io.Writer) error {
		return vmdk.Write(w, ctxio.NewReader(ctx, content), src.SizeBytes)
	}); err != nil {
		gone := context.WithoutCancel(ctx)
		return errors.Join(err, lease.Abort(gone, nil), d.discard(gone, vm))
	}
	err = d.keep(ctx, vm, ref)
	return errors.Join(err, d.discard(context.WithoutCancel(ctx), vm))
}

func (d *imageDisks) importSpec(src portlayer.DiskSource, ref portlayer.DiskRef) types.VirtualMachineConfigSpec {
	unit := int32(0)
	return types.VirtualMachineConfigSpec{
		Name:        "vic-import-" + string(ref[:12]) + "-" + rand.Text()[:6],
		GuestId:     string(types.VirtualMachineGuestOsIdentifierOtherLinux64Guest),
		NumCPUs:     1,
		MemoryMB:    memoryUnit / mib,
		Files:       &types.VirtualMachineFileInfo{VmPathName: d.h.place.datastore.Path("")},
		Annotation:  "Takes the disk of a container image, and is removed then. Made by vic.",
		ManagedBy:   &types.ManagedByInfo{ExtensionKey: managedBy, Type: "import"},
		ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: keyDisk, Value: src.Digest}},
		VmProfile:   d.h.place.policy,
		DeviceChange: []types.BaseVirtualDeviceConfigSpec{
			&types.VirtualDeviceConfigSpec{
				Operation: types.VirtualDeviceConfigSpecOperationAdd,
				Device: &types.ParaVirtualSCSIController{VirtualSCSIController: types.VirtualSCSIController{
					SharedBus:         types.VirtualSCSISharingNoSharing,
					VirtualController: types.VirtualController{VirtualDevice: types.VirtualDevice{Key: pvscsiKey}},
				}},
			},
			&types.VirtualDeviceConfigSpec{
				Operation:     types.VirtualDeviceConfigSpecOperationAdd,
				FileOperation: types.VirtualDeviceConfigSpecFileOperationCreate,
				Profile:       d.h.place.policy,
				Device: &types.VirtualDisk{
					VirtualDevice: types.VirtualDevice{
						Key: diskKeys, ControllerKey: pvscsiKey, UnitNumber: &unit,
						Backing: &types.VirtualDiskFlatVer2BackingInfo{
							DiskMode: string(types.VirtualDiskModePersistent), ThinProvisioned: new(true),
						},
					},
					CapacityInKB: vmdk.Capacity(src.SizeBytes) / 1024,
				},
			},
		},
	}
}

// upload sends what write writes, which has size bytes, as the lease's one disk.
func (d *imageDisks) upload(ctx context.Context, lease *nfc.Lease, info *nfc.LeaseInfo, size int64, write func(io.Writer) error) error {
	for _, device := range info.DeviceUrl {
		if device.Disk == nil || !*device.Disk {
			continue
		}
		to, err := d.h.client.ParseURL(device.Url)
		if err != nil {
			return fmt.Errorf("import: %w", err)
		}
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		// Ends with ctx.
		go beat(ctx, lease)
		r, w := io.Pipe()
		// Ends when the content does, or when the upload closes the pipe.
		go func() { _ = w.CloseWithError(write(w)) }() // it never fails
		defer r.Close()
		err = d.h.client.Upload(ctx, r, to, &soap.Upload{
			Type: "application/x-vnd.vmware-streamVmdk", Method: "POST", ContentLength: size,
			Headers: map[string]string{"Overwrite": "t"},
		})
		if err != nil {
			return fmt.Errorf("import: %w", errors.Join(leaseError(ctx, lease), err))
		}
		if err := lease.Complete(ctx); err != nil {
			return fmt.Errorf("complete import: %w", err)
		}
		return nil
	}
	return errors.New("import: the lease has no disk")
}

// leaseError is why vSphere gave a lease up, such as a full datastore: of the upload only a broken connection is seen. Nil is not
// known.
func leaseError(ctx context.Context, lease *nfc.Lease) error {
	if facts, err := lease.Properties(ctx, "error"); err == nil && facts.Error != nil {
		return task.Error{LocalizedMethodFault: facts.Error}
	}
	return nil
}

// beat keeps a lease.
func beat(ctx context.Context, lease *nfc.Lease) {
	for wait.For(ctx, leaseBeat) == nil {
		_ = lease.Progress(ctx, 50) // a lease that is lost shows in the upload
	}
}

// keep takes the disk out of the VM, and gives it its name.
func (d *imageDisks) keep(ctx context.Context, vm *object.VirtualMachine, ref portlayer.DiskRef) error {
	var facts mo.VirtualMachine
	if err := property.DefaultCollector(d.h.client).RetrieveOne(ctx, vm.Reference(), []string{"config.hardware.device"}, &facts); err != nil {
		return fmt.Errorf("read imported disk: %w", err)
	}
	disks := object.VirtualDeviceList(facts.Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil))
	if len(disks) != 1 {
		return fmt.Errorf("import has %d disks, not one", len(disks))
	}
	file := disks[0].GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo().FileName
	remove := types.VirtualMachineConfigSpec{DeviceChange: []types.BaseVirtualDeviceConfigSpec{
		&types.VirtualDeviceConfigSpec{Operation: types.VirtualDeviceConfigSpecOperationRemove, Device: disks[0]}, // its file stays
	}}
	removal, err := vm.Reconfigure(ctx, remove)
	if _, err := d.h.tasks.await(ctx, removal, err); err != nil {
		return fmt.Errorf("detach imported disk: %w", err)
	}
	dc := d.h.place.datacenter
	move, err := object.NewVirtualDiskManager(d.h.client).MoveVirtualDisk(ctx, file, dc, d.path(ref), dc, false)
	_, err = d.h.tasks.await(ctx, move, err)
	if err == nil {
		return nil
	}
	left := d.deleteFile(context.WithoutCancel(ctx), file) // nobody has the disk any more
	if fault.Is(err, &types.FileAlreadyExists{}) {
		return left // another process was as fast
	}
	return errors.Join(fmt.Errorf("name imported disk: %w", err), left)
}

// discard removes the VM of an import, and the disk if it still has it.
func (d *imageDisks) discard(ctx context.Context, vm *object.VirtualMachine) error {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	removal, err := vm.Destroy(ctx)
	_, err = d.h.tasks.await(ctx, removal, err)
	if err != nil && !fault.Is(err, &types.ManagedObjectNotFound{}) {
		return fmt.Errorf("remove import: %w", err)
	}
	return nil
}

// importLife is longer than any import takes.
const importLife = time.Hour

// tidy removes VMs of imports that a former process has left.
func (d *imageDisks) tidy(ctx context.Context) error {
	v, err := view.NewManager(d.h.client).CreateContainerView(ctx, d.h.place.folder.Reference(), []string{"VirtualMachine"}, true)
	if err != nil {
		return fmt.Errorf("look for imports: %w", err)
	}
	defer destroy(ctx, v)
	var vms []mo.VirtualMachine
	if err := v.Retrieve(ctx, []string{"VirtualMachine"}, []string{"config.extraConfig", "config.createDate"}, &vms); err != nil {
		return fmt.Errorf("look for imports: %w", err)
	}
	for _, vm := range vms {
		if !isImport(vm) || vm.Config.CreateDate == nil || time.Since(*vm.Config.CreateDate) < importLife {
			continue
		}
		if err := d.discard(ctx, object.NewVirtualMachine(d.h.client, vm.Self)); err != nil {
			logging.From(ctx).WarnContext(ctx, "import left behind", "moref", vm.Self.Value, "err", err)
		}
	}
	return nil
}

func isImport(vm mo.VirtualMachine) bool {
	return vm.Config != nil && slices.ContainsFunc(vm.Config.ExtraConfig, func(o types.BaseOptionValue) bool {
		return o.GetOptionValue().Key == keyDisk
	})
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}
