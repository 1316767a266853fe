//go:build !race

package vsphere_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

const uid = "uid-1"

// cluster is a vCenter with one cluster and no VM, and a VCH in it.
func cluster(t *testing.T) (*vcenter, *vsphere.Hypervisor) {
	t.Helper()
	v := withGuests(testvcenter.Cluster(t))
	return v, v.open()
}

func spec(disks ...portlayer.Disk) portlayer.Spec {
	return portlayer.Spec{
		ID: uid, Owner: portlayer.Owner{Kind: "Pod", UID: uid, Namespace: "default", Name: "pod", Node: "node", Generation: 1},
		Size:        portlayer.Size{VCPUs: 1, CPUMilli: 1000, MemoryBytes: 256 << 20},
		Disks:       append([]portlayer.Disk{{Kind: portlayer.DiskScratch, Serial: "scratch", SizeBytes: 64 << 20}}, disks...),
		Annotations: map[string]string{"note": "app"},
	}
}

func source(text string) portlayer.DiskSource {
	b := bytes.Repeat([]byte(text), 1000)
	sum := sha256.Sum256(b)
	return portlayer.DiskSource{
		Digest: "sha256:" + hex.EncodeToString(sum[:]), SizeBytes: int64(len(b)),
		Open: func() (io.ReadSeekCloser, error) {
			return struct {
				io.ReadSeeker
				io.Closer
			}{bytes.NewReader(b), io.NopCloser(nil)}, nil
		},
	}
}

// files are what the datastore has below a directory.
func (v *vcenter) files(dir string) []string {
	v.Helper()
	finder := find.NewFinder(v.Admin.Client)
	dc, err := finder.DefaultDatacenter(v.Context())
	require.NoError(v, err)
	store, err := finder.SetDatacenter(dc).DefaultDatastore(v.Context())
	require.NoError(v, err)
	browser, err := store.Browser(v.Context())
	require.NoError(v, err)
	task, err := browser.SearchDatastore(v.Context(), store.Path(dir), &types.HostDatastoreBrowserSearchSpec{MatchPattern: []string{"*"}})
	require.NoError(v, err)
	info, err := task.WaitForResult(v.Context())
	require.NoError(v, err)
	var names []string
	for _, f := range info.Result.(types.HostDatastoreBrowserSearchResults).File {
		names = append(names, f.GetFileInfo().Path)
	}
	return names
}

// vms counts the VMs of the whole inventory.
func (v *vcenter) vms() int {
	v.Helper()
	return len(v.Model.Map().All("VirtualMachine"))
}

func get(t *testing.T, h *vsphere.Hypervisor) (portlayer.VM, bool) {
	t.Helper()
	vms, err := h.List(t.Context())
	require.NoError(t, err)
	for _, vm := range vms {
		if vm.ID() == uid {
			return vm, true
		}
	}
	return portlayer.VM{}, false
}

// TestDestroyLeavesSharedDisks is the regression test of what would lose every other pod's image.
func TestDestroyLeavesSharedDisks(t *testing.T) {
	v, h := cluster(t)
	ref, err := h.EnsureDisk(t.Context(), source("image"))
	require.NoError(t, err)
	before := v.files("vic/vch/images")
	require.Contains(t, before, string(ref))
	_, err = h.Create(t.Context(), spec(portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image0", Ref: ref}))
	require.NoError(t, err)
	var facts mo.VirtualMachine
	require.NoError(t, v.vm(uid).Properties(t.Context(), v.vm(uid).Reference(), []string{"config.hardware.device"}, &facts))
	for _, d := range object.VirtualDeviceList(facts.Config.Hardware.Device).SelectByType((*types.VirtualDisk)(nil)) {
		file := d.GetVirtualDevice().Backing.(types.BaseVirtualDeviceFileBackingInfo).GetVirtualDeviceFileBackingInfo().FileName
		assert.NotContains(t, file, "/images/", "an image's disk is never attached itself")
	}
	require.NoError(t, h.PowerOn(t.Context(), uid))
	require.NoError(t, h.Destroy(t.Context(), uid))
	assert.Zero(t, v.vms())
	assert.ElementsMatch(t, before, v.files("vic/vch/images"))
}

// TestADiskThatSomebodyHasAttachedStays has an administrator give a pod's VM a disk, on a controller of its own.
func TestADiskThatSomebodyHasAttachedStays(t *testing.T) {
	v, h := cluster(t)
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	vm := v.vm(uid)
	devices, err := vm.Device(t.Context())
	require.NoError(t, err)
	scsi, err := devices.CreateSCSIController("pvscsi")
	require.NoError(t, err)
	require.NoError(t, vm.AddDevice(t.Context(), scsi))
	devices, err = vm.Device(t.Context())
	require.NoError(t, err)
	controllers := devices.SelectByType((*types.ParaVirtualSCSIController)(nil))
	require.Len(t, controllers, 2)
	store, err := v.Finder().DefaultDatastore(t.Context())
	require.NoError(t, err)
	dc, err := v.Finder().DefaultDatacenter(t.Context())
	require.NoError(t, err)
	task, err := object.NewVirtualDiskManager(v.Admin.Client).CreateVirtualDisk(t.Context(), store.Path("vic/data.vmdk"), dc,
		&types.FileBackedVirtualDiskSpec{
			VirtualDiskSpec: types.VirtualDiskSpec{DiskType: string(types.VirtualDiskTypeThin), AdapterType: string(types.VirtualDiskAdapterTypeLsiLogic)},
			CapacityKb:      1024,
		})
	require.NoError(t, err)
	require.NoError(t, task.Wait(t.Context()))
	data := devices.CreateDisk(controllers[1].(types.BaseVirtualController), store.Reference(), store.Path("vic/data.vmdk"))
	require.NoError(t, vm.AddDevice(t.Context(), data))

	created, ok := get(t, h)
	require.True(t, ok)
	changed := created.Spec.Clone()
	changed.Disks = append(changed.Disks, portlayer.Disk{Kind: portlayer.DiskScratch, Serial: "second", SizeBytes: 64 << 20})
	_, err = h.Update(t.Context(), changed, created.Version)
	require.NoError(t, err)
	require.Contains(t, v.files("vic"), "data.vmdk")
	require.NoError(t, h.Destroy(t.Context(), uid))
	assert.Zero(t, v.vms())
	assert.Contains(t, v.files("vic"), "data.vmdk")
}

// TestACopyOfAVMIsLeftAlone has somebody make a VM that says the same of itself as a pod's.
func TestACopyOfAVMIsLeftAlone(t *testing.T) {
	v, h := cluster(t)
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	var facts mo.VirtualMachine
	vm := v.vm(uid)
	require.NoError(t, vm.Properties(t.Context(), vm.Reference(), []string{"config.extraConfig"}, &facts))
	folder, err := v.Finder().DefaultFolder(t.Context())
	require.NoError(t, err)
	pool, err := v.Finder().DefaultResourcePool(t.Context())
	require.NoError(t, err)
	task, err := folder.CreateVM(t.Context(), types.VirtualMachineConfigSpec{
		Name: "copy", GuestId: "otherLinux64Guest", Files: &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
		ExtraConfig: facts.Config.ExtraConfig,
	}, pool, nil)
	require.NoError(t, err)
	require.NoError(t, task.Wait(t.Context()))
	next := v.open()
	vms, err := next.List(t.Context())
	require.NoError(t, err)
	require.Len(t, vms, 1)
	require.NoError(t, next.Destroy(t.Context(), uid))
	assert.Equal(t, 1, v.vms(), "the copy")
}

func TestAnImportLeavesNothingButTheDisk(t *testing.T) {
	v, h := cluster(t)
	_, err := h.EnsureDisk(t.Context(), source("image"))
	require.NoError(t, err)
	assert.Zero(t, v.vms(), "the VM of the import is gone")
}

// endSessions ends all but the administrator's.
func (v *vcenter) endSessions() {
	v.Helper()
	var manager mo.SessionManager
	require.NoError(v, v.Admin.RetrieveOne(v.Context(), *v.Admin.ServiceContent.SessionManager, nil, &manager))
	mine, err := v.Admin.SessionManager.UserSession(v.Context())
	require.NoError(v, err)
	var theirs []string
	for _, s := range manager.SessionList {
		if s.Key != mine.Key {
			theirs = append(theirs, s.Key)
		}
	}
	require.NotEmpty(v, theirs)
	require.NoError(v, session.NewManager(v.Admin.Client).TerminateSession(v.Context(), theirs))
}

// TestAnImportThatAFormerProcessLeftIsRemoved has one that is two hours old, and one that goes on.
func TestAnImportThatAFormerProcessLeftIsRemoved(t *testing.T) {
	v, _ := cluster(t)
	folder, err := v.Finder().DefaultFolder(t.Context())
	require.NoError(t, err)
	pool, err := v.Finder().DefaultResourcePool(t.Context())
	require.NoError(t, err)
	for name, age := range map[string]time.Duration{"vic-import-old": 2 * time.Hour, "vic-import-new": 0} {
		task, err := folder.CreateVM(t.Context(), types.VirtualMachineConfigSpec{
			Name: name, GuestId: "otherLinux64Guest", Files: &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"},
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "vic.importing", Value: "sha256:00"}},
		}, pool, nil)
		require.NoError(t, err)
		info, err := task.WaitForResult(t.Context())
		require.NoError(t, err)
		vm := v.Model.Map().Get(info.Result.(types.ManagedObjectReference)).(*simulator.VirtualMachine)
		v.Model.Service.Context.WithLock(vm, func() { vm.Config.CreateDate = new(time.Now().Add(-age)) })
	}
	require.Equal(t, 2, v.vms())
	v.open()
	require.Equal(t, 1, v.vms())
	_, err = v.Finder().VirtualMachine(t.Context(), "vic-import-new")
	require.NoError(t, err)
}

func TestALostSessionIsRenewed(t *testing.T) {
	v, h := cluster(t)
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	v.endSessions()
	require.NoError(t, h.PowerOn(t.Context(), uid))
	vm, ok := get(t, h)
	require.True(t, ok)
	assert.Equal(t, portlayer.StateRunning, vm.State)
	// The watch is made anew, too.
	changes := h.Watch(t.Context())
	v.powerOff()
	await(t, changes, func() bool { vm, _ := get(t, h); return vm.State == portlayer.StateStopped })
}

// starved is a VM that its host does not start.
type starved struct {
	*simulator.VirtualMachine
	fault types.BaseMethodFault
}

func (s *starved) PowerOnVMTask(ctx *simulator.Context, _ *types.PowerOnVM_Task) soap.HasFault {
	task := simulator.CreateTask(s, "powerOn", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return nil, s.fault
	})
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: task.Run(ctx)}}
}

func TestAPowerOnThatFailsLeavesTheVMAsItWas(t *testing.T) {
	v, h := cluster(t)
	created, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	reg := v.Model.Map()
	ref := v.vm(uid).Reference()
	vm0 := reg.Get(ref).(*simulator.VirtualMachine)
	reg.Put(&starved{vm0, &types.GenericVmConfigFault{Reason: "no such device"}})
	var ended *portlayer.PowerError
	require.ErrorAs(t, h.PowerOn(t.Context(), uid), &ended)
	for _, fault := range []types.BaseMethodFault{&types.InsufficientMemoryResourcesFault{}, &types.InsufficientFailoverResourcesFault{}} {
		reg.Put(&starved{vm0, fault})
		require.ErrorIs(t, h.PowerOn(t.Context(), uid), portlayer.ErrOutOfMemory)
	}
	vm, ok := get(t, h)
	require.True(t, ok)
	assert.Equal(t, portlayer.StateCreated, vm.State)
	assert.Equal(t, created.Version, vm.Version)
	assert.Zero(t, vm.StartedAt)
}

func TestAVMThatIsRemovedByHandIsGone(t *testing.T) {
	v, h := cluster(t)
	changes := h.Watch(t.Context())
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	<-changes // of our own
	<-changes // of vCenter, which reports no end without its beginning
	task, err := v.vm(uid).Destroy(t.Context())
	require.NoError(t, err)
	require.NoError(t, task.Wait(t.Context()))
	await(t, changes, func() bool { _, ok := get(t, h); return !ok })
	require.NoError(t, h.Destroy(t.Context(), uid))
	_, err = h.Create(t.Context(), spec())
	require.NoError(t, err, "and the pod may have a VM again")
}

// strict is a folder that refuses a second VM of a name, as vCenter does and the simulator does not.
type strict struct {
	*simulator.Folder
	names map[string]bool // of VMs that were asked for, made or not
}

// makeStrict has the VMs' folder refuse them.
func (v *vcenter) makeStrict() {
	v.Helper()
	folder, err := v.Finder().DefaultFolder(v.Context())
	require.NoError(v, err)
	reg := v.Model.Map()
	reg.Put(&strict{reg.Get(folder.Reference()).(*simulator.Folder), map[string]bool{}})
}

func (s *strict) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) soap.HasFault {
	if s.names[req.Config.Name] { // calls of one object come one at a time
		task := simulator.CreateTask(s, "createVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
			return nil, &types.DuplicateName{Name: req.Config.Name, Object: s.Self}
		})
		return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: task.Run(ctx)}}
	}
	s.names[req.Config.Name] = true
	return s.Folder.CreateVMTask(ctx, req)
}

// TestACreationThatNobodySawEndIsNotRepeated has two processes create the VM of one pod.
func TestACreationThatNobodySawEndIsNotRepeated(t *testing.T) {
	v, h := cluster(t)
	v.makeStrict()
	other := v.open()
	_, err := other.Create(t.Context(), spec())
	require.NoError(t, err)
	_, err = h.Create(t.Context(), spec())
	require.ErrorIs(t, err, portlayer.ErrExists)
	assert.Equal(t, 1, v.vms())
}

func TestAWrongCertificateOrPasswordIsRefused(t *testing.T) {
	v, _ := cluster(t)
	unknown := v.Target
	unknown.CAFile = ""
	shown := soap.ThumbprintSHA256(v.HTTP.Certificate())
	_, err := vsphere.Connect(t.Context(), unknown)
	require.ErrorContains(t, err, "certificate")
	require.ErrorContains(t, err, shown)
	other := unknown
	other.Thumbprint = strings.Repeat("00:", 31) + "00"
	_, err = vsphere.Connect(t.Context(), other)
	require.ErrorContains(t, err, shown)
	pinned := unknown
	pinned.Thumbprint = soap.ThumbprintSHA256(v.HTTP.Certificate())
	s, err := vsphere.Connect(t.Context(), pinned)
	require.NoError(t, err)
	s.Close(context.WithoutCancel(t.Context()))
	missing := v.Target
	missing.PasswordFile += ".none"
	_, err = vsphere.Connect(t.Context(), missing)
	require.ErrorContains(t, err, missing.PasswordFile)
	spelled := v.Target
	spelled.Address = "https://user:secret@" + v.HTTP.URL.Host
	_, err = vsphere.Connect(t.Context(), spelled)
	require.ErrorContains(t, err, "belongs into a file")
	assert.NotContains(t, err.Error(), "secret")
}

func TestARecordOfAnotherFormatIsRefusedAndKept(t *testing.T) {
	v, h := cluster(t)
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	set := func(format string) {
		t.Helper()
		task, err := v.vm(uid).Reconfigure(t.Context(), types.VirtualMachineConfigSpec{
			ExtraConfig: []types.BaseOptionValue{&types.OptionValue{Key: "vic.format", Value: format}},
		})
		require.NoError(t, err)
		require.NoError(t, task.Wait(t.Context()))
	}
	for _, format := range []string{"2", ""} {
		set(format)
		next := v.open()
		_, err := next.List(t.Context())
		var refused *portlayer.FormatError
		require.ErrorAs(t, err, &refused)
		assert.Contains(t, refused.Place, "vic.format of VM")
		assert.Equal(t, 1, v.vms(), "nothing is lost")
	}
	set("1")
	vms, err := v.open().List(t.Context())
	require.NoError(t, err)
	require.Len(t, vms, 1)
}

func TestAVCenterThatHangsIsNotWaitedFor(t *testing.T) {
	on, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts
	require.NoError(t, err)
	defer on.Close()
	_, err = vsphere.Connect(t.Context(), vsphere.Target{
		Address: on.Addr().String(), User: "user", Insecure: true, AnswerWithin: 100 * time.Millisecond,
	})
	require.ErrorContains(t, err, "no answer within 100ms")
}
