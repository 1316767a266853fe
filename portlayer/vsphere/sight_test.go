//go:build !race

package vsphere_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// running makes a VM that runs.
func running(t *testing.T, h *vsphere.Hypervisor) portlayer.VM {
	t.Helper()
	_, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	vm, ok := get(t, h)
	require.True(t, ok)
	require.NotEmpty(t, vm.Ref)
	return vm
}

// unreadable is the condition of that name, and the VMs whose owners nobody knows.
func unreadable(t *testing.T, h *vsphere.Hypervisor) (portlayer.Condition, []string) {
	t.Helper()
	c, err := h.Capacity(t.Context())
	require.NoError(t, err)
	for _, said := range c.Conditions {
		if said.Type == portlayer.ConditionVMsUnreadable {
			return said, c.Unreadable
		}
	}
	require.Fail(t, "it says nothing of what it can read")
	return portlayer.Condition{}, nil
}

// lookAgain has the whole folder read, as each minute: the simulator's views don't notice that a VM moves.
func lookAgain(t *testing.T, h *vsphere.Hypervisor) {
	t.Helper()
	_ = h.CollectDisks(t.Context(), func(portlayer.DiskRef) bool { return true }) // it refuses while there is what can't be read
}

// seesAll waits until every VM can be read, or until one can't.
func seesAll(t *testing.T, h *vsphere.Hypervisor, want bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		lookAgain(t, h)
		said, _ := unreadable(t, h)
		return said.True != want
	}, patience, 100*time.Millisecond)
}

// elsewhere moves the pod's VM out of the VCH's folder.
func (v *vcenter) elsewhere() {
	v.Helper()
	vm := v.vm(uid).Reference()
	root, err := v.Finder().DefaultFolder(v.Context())
	require.NoError(v, err)
	other, err := root.CreateFolder(v.Context(), "elsewhere")
	require.NoError(v, err)
	task, err := other.MoveInto(v.Context(), []types.ManagedObjectReference{vm})
	require.NoError(v, err)
	require.NoError(v, task.Wait(v.Context()))
}

// inFolder is a VCH whose folder is one below the datacenter's.
func inFolder(t *testing.T, v *vcenter) func(*vsphere.Config) {
	t.Helper()
	root, err := v.Finder().DefaultFolder(t.Context())
	require.NoError(t, err)
	_, err = root.CreateFolder(t.Context(), "pods")
	require.NoError(t, err)
	return func(c *vsphere.Config) { c.Folder = root.InventoryPath + "/pods" }
}

func TestAVMWhoseConfigurationCannotBeReadIsNotMadeAgain(t *testing.T) {
	v, h := cluster(t)
	before := running(t, h)
	said, _ := unreadable(t, h)
	require.False(t, said.True)
	show := v.Hide(v.vm(uid).Reference())

	next := v.open()
	_, err := next.Create(t.Context(), spec())
	require.ErrorIs(t, err, portlayer.ErrBusy)
	require.ErrorContains(t, err, "can't be read")
	assert.Equal(t, 1, v.vms())
	said, names := unreadable(t, next)
	assert.True(t, said.True)
	assert.Contains(t, said.Message, `it has no configuration, and its connection state is "disconnected"`)
	assert.Equal(t, []string{"default-pod-" + uid}, names)
	require.ErrorIs(t, next.CollectDisks(t.Context(), func(portlayer.DiskRef) bool { return false }), portlayer.ErrBusy, "it may have any of them")

	v.Forget() // as ESXi, which finds it no more
	require.NoError(t, next.Recall(t.Context(), []portlayer.VM{before}))
	vm, ok := get(t, next)
	require.True(t, ok, "who knows its object finds it")
	assert.Equal(t, before.Spec, vm.Spec)
	assert.Equal(t, portlayer.StateRunning, vm.State)
	assert.Equal(t, before.Version, vm.Version)
	_, err = next.Create(t.Context(), spec())
	require.ErrorIs(t, err, portlayer.ErrExists)
	said, names = unreadable(t, next)
	assert.True(t, said.True)
	assert.Empty(t, names, "it is known whose it is")

	show()
	seesAll(t, next, true)
	require.NoError(t, next.Destroy(t.Context(), uid))
	assert.Zero(t, v.vms())
}

func TestAVMWhoseHostIsAwayStaysAsItWas(t *testing.T) {
	v, h := cluster(t)
	running(t, h)
	require.NoError(t, h.PowerOff(t.Context(), uid)) // the simulator's tasks don't stand a VM without a configuration
	show := v.Hide(v.vm(uid).Reference())
	seesAll(t, h, false)
	vm, ok := get(t, h)
	require.True(t, ok)
	assert.Equal(t, portlayer.StateStopped, vm.State)
	require.Error(t, h.Destroy(t.Context(), uid), "nobody knows which disks are not its own")
	assert.Equal(t, 1, v.vms())
	changed := vm.Spec.Clone()
	changed.Annotations = map[string]string{"note": "other"}
	_, err := h.Update(t.Context(), changed, vm.Version)
	require.ErrorIs(t, err, portlayer.ErrBusy)
	show()
	seesAll(t, h, true)
}

func TestAVMThatIsMovedToAnotherFolderStaysThePods(t *testing.T) {
	v, _ := cluster(t)
	pods := inFolder(t, v)
	h := v.open(pods)
	before := running(t, h)
	v.elsewhere()
	lookAgain(t, h)
	said, names := unreadable(t, h)
	assert.Contains(t, said.Message, "it is not in the VCH's folder")
	assert.Empty(t, names)
	_, ok := get(t, h)
	require.True(t, ok, "a VM that is out of sight is not gone")
	_, err := h.Create(t.Context(), spec())
	require.ErrorIs(t, err, portlayer.ErrExists)

	next := v.open(pods)
	_, ok = get(t, next)
	require.False(t, ok)
	require.NoError(t, next.Recall(t.Context(), []portlayer.VM{before}))
	_, ok = get(t, next)
	require.True(t, ok)

	third := v.open(pods)
	_, err = third.Create(t.Context(), spec())
	require.ErrorIs(t, err, portlayer.ErrExists, "its instance UUID is found without its object")
	_, ok = get(t, third)
	require.True(t, ok)
	assert.Equal(t, 1, v.vms())

	require.NoError(t, third.Destroy(t.Context(), uid))
	assert.Zero(t, v.vms(), "it is the pod's, wherever it is")
	require.NoError(t, next.Destroy(t.Context(), uid))
}

func TestAVMThatTheAccountMayNotReadAnyMoreIsNotGone(t *testing.T) {
	v, _ := cluster(t)
	pods := inFolder(t, v)
	h := v.open(pods)
	running(t, h)
	v.Deny("VirtualMachine")
	v.elsewhere()
	lookAgain(t, h)
	said, _ := unreadable(t, h)
	assert.Contains(t, said.Message, "this account may not read it")
	_, ok := get(t, h)
	require.True(t, ok)
}

func TestAVMThatIsRegisteredAnewIsTheSame(t *testing.T) {
	v, h := cluster(t)
	before := running(t, h)
	v.powerOff()
	var facts mo.VirtualMachine
	vm := v.vm(uid)
	require.NoError(t, vm.Properties(t.Context(), vm.Reference(), []string{"config"}, &facts))
	require.NoError(t, vm.Unregister(t.Context()))
	// The simulator makes VMs of files anew, so another is made that carries the same.
	v.copy(facts, facts.Config.InstanceUuid)
	require.Eventually(t, func() bool {
		lookAgain(t, h)
		vm, ok := get(t, h)
		return ok && vm.Ref != before.Ref
	}, patience, 100*time.Millisecond)
	require.NoError(t, h.Destroy(t.Context(), uid))
}

// copy makes a VM that carries what another one does.
func (v *vcenter) copy(of mo.VirtualMachine, instanceUUID string) *object.VirtualMachine {
	v.Helper()
	folder, err := v.Finder().DefaultFolder(v.Context())
	require.NoError(v, err)
	pool, err := v.Finder().DefaultResourcePool(v.Context())
	require.NoError(v, err)
	task, err := folder.CreateVM(v.Context(), types.VirtualMachineConfigSpec{
		Name: "copy", GuestId: "otherLinux64Guest", InstanceUuid: instanceUUID,
		Files: &types.VirtualMachineFileInfo{VmPathName: "[LocalDS_0]"}, ExtraConfig: of.Config.ExtraConfig,
	}, pool, nil)
	require.NoError(v, err)
	info, err := task.WaitForResult(v.Context())
	require.NoError(v, err)
	return object.NewVirtualMachine(v.Admin.Client, info.Result.(types.ManagedObjectReference))
}

func TestOfTwoVMsOfOnePodNoneIsChosen(t *testing.T) {
	v, h := cluster(t)
	running(t, h)
	var facts mo.VirtualMachine
	require.NoError(t, v.vm(uid).Properties(t.Context(), v.vm(uid).Reference(), []string{"config"}, &facts))
	second := v.copy(facts, facts.Config.InstanceUuid)
	seesAll(t, h, false)
	said, _ := unreadable(t, h)
	assert.Contains(t, said.Message, "has several VMs")
	vms, err := h.List(t.Context())
	require.NoError(t, err)
	require.Len(t, vms, 1)
	assert.Equal(t, portlayer.StateRunning, vms[0].State)
	require.ErrorContains(t, h.Destroy(t.Context(), uid), "remove the others in vSphere")
	require.ErrorContains(t, h.PowerOff(t.Context(), uid), "remove the others in vSphere")
	assert.Equal(t, 2, v.vms())

	task, err := second.Destroy(t.Context())
	require.NoError(t, err)
	require.NoError(t, task.Wait(t.Context()))
	seesAll(t, h, true)
	require.NoError(t, h.Destroy(t.Context(), uid))
	assert.Zero(t, v.vms())
}

func TestVMsThatAreAllGoneAtOnceAreLookedForAgain(t *testing.T) {
	v, h, d := behindDoor(t)
	running(t, h)
	other := spec()
	other.ID, other.Owner.UID = "uid-2", "uid-2"
	_, err := h.Create(t.Context(), other)
	require.NoError(t, err)
	d.shut()
	for _, id := range []string{uid, "uid-2"} {
		if id == uid {
			v.powerOff()
		}
		task, err := v.vm(id).Destroy(t.Context())
		require.NoError(t, err)
		require.NoError(t, task.Wait(t.Context()))
	}
	require.Zero(t, v.vms())
	d.open()
	require.Eventually(t, func() bool {
		c, err := h.Capacity(t.Context())
		return err == nil && len(c.Conditions) > 0 && c.Conditions[0].True
	}, patience, 100*time.Millisecond)
	said, _ := unreadable(t, h)
	assert.Contains(t, said.Message, "shows none of the VMs any more")
	vms, err := h.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, vms, 2)
}
