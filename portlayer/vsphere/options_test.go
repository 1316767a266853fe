//go:build !race

package vsphere_test

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "github.com/vmware/govmomi/pbm/simulator"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

const policy, policyID = "vSAN Default Storage Policy", "aa6d5a82-1c88-45da-85d3-3d74b91a5bad" // of the simulator

// asked keeps what VMs a vCenter was asked to make or to change.
type asked struct {
	mu    sync.Mutex // guards specs
	specs []types.VirtualMachineConfigSpec
}

func (v *vcenter) asked() *asked {
	a := &asked{}
	v.Before = func(_ *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		a.mu.Lock()
		defer a.mu.Unlock()
		switch body := m.Body.(type) {
		case *types.CreateVM_Task:
			a.specs = append(a.specs, body.Config)
		case *types.ReconfigVM_Task:
			a.specs = append(a.specs, body.Spec)
		case *types.ImportVApp:
			a.specs = append(a.specs, body.Spec.(*types.VirtualMachineImportSpec).ConfigSpec)
		}
		return nil
	}
	return a
}

// take are the specs since the last call.
func (a *asked) take() []types.VirtualMachineConfigSpec {
	a.mu.Lock()
	defer a.mu.Unlock()
	specs := a.specs
	a.specs = nil
	return specs
}

func TestVMsAndDisksHaveTheStoragePolicy(t *testing.T) {
	v := withGuests(testvcenter.ClusterWithEndpoints(t))
	h := v.open(func(c *vsphere.Config) { c.StoragePolicy = policy })
	want := []types.BaseVirtualMachineProfileSpec{&types.VirtualMachineDefinedProfileSpec{ProfileId: policyID}}
	asked := v.asked()
	ref, err := h.EnsureDisk(t.Context(), source("image"))
	require.NoError(t, err)
	made, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	for _, s := range asked.take() {
		if s.Name == "" {
			continue // the import lets go of its disk
		}
		assert.Equal(t, want, s.VmProfile, s.Name)
		requirePolicy(t, s, want, 1)
	}
	_, err = h.Update(t.Context(), spec(portlayer.Disk{Kind: portlayer.DiskImage, Serial: "image0", Ref: ref}), made.Version)
	require.NoError(t, err)
	changes := asked.take()
	require.Len(t, changes, 1)
	requirePolicy(t, changes[0], want, 1)
}

// requirePolicy requires that a spec adds so many disks, each with a policy.
func requirePolicy(t *testing.T, s types.VirtualMachineConfigSpec, want []types.BaseVirtualMachineProfileSpec, disks int) {
	t.Helper()
	for _, c := range s.DeviceChange {
		change := c.GetVirtualDeviceConfigSpec()
		if _, ok := change.Device.(*types.VirtualDisk); ok && change.Operation == types.VirtualDeviceConfigSpecOperationAdd {
			assert.Equal(t, want, change.Profile)
			disks--
		}
	}
	assert.Zero(t, disks)
}

func TestAStoragePolicyThatIsNotThereIsRefused(t *testing.T) {
	v := withGuests(testvcenter.ClusterWithEndpoints(t))
	session, err := vsphere.Connect(t.Context(), v.Target)
	require.NoError(t, err)
	defer session.Close(t.Context())
	_, err = vsphere.Open(t.Context(), vsphere.Config{Name: "vch", Session: session, Guests: v.guests, StoragePolicy: "gold"})
	require.ErrorContains(t, err, `storage policy`)
	require.ErrorContains(t, err, `"gold"`)
}

func TestMemoryIsReservedWhereThatIsWanted(t *testing.T) {
	v, plain := cluster(t)
	h := v.open(func(c *vsphere.Config) { c.ReserveMemory = true })
	made, err := h.Create(t.Context(), spec())
	require.NoError(t, err)
	requireReserved := func(want int64) {
		t.Helper()
		var facts mo.VirtualMachine
		vm := v.vm(uid)
		require.NoError(t, vm.Properties(t.Context(), vm.Reference(), []string{"config.memoryAllocation", "config.memoryReservationLockedToMax"}, &facts))
		require.NotNil(t, facts.Config.MemoryAllocation.Reservation)
		assert.Equal(t, want, *facts.Config.MemoryAllocation.Reservation)
		assert.Equal(t, new(true), facts.Config.MemoryReservationLockedToMax)
	}
	requireReserved(256)
	larger := spec()
	larger.Size.MemoryBytes *= 2
	_, err = h.Update(t.Context(), larger, made.Version)
	require.NoError(t, err)
	requireReserved(512)

	v.SetUnreserved(1 << 20)
	reserved, err := h.Capacity(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 1<<20, reserved.FreeMemoryBytes, "more can't be reserved")
	shared, err := plain.Capacity(t.Context())
	require.NoError(t, err)
	assert.Greater(t, shared.FreeMemoryBytes, reserved.FreeMemoryBytes)
}

// TestANetworkMayBeAnNSXSegment has a segment as vCenter shows it: an opaque network, found by its name.
func TestANetworkMayBeAnNSXSegment(t *testing.T) {
	m := simulator.VPX()
	m.Machine, m.Host, m.OpaqueNetwork = 0, 0, 1
	v := withGuests(testvcenter.Start(t, m))
	segment := v.Model.Map().Any("OpaqueNetwork").(*mo.OpaqueNetwork)
	h := v.open(func(c *vsphere.Config) { c.Networks = map[string]string{"pods": segment.Name} })
	s := spec()
	s.NICs = []portlayer.NIC{{Scope: "pods", MAC: "00:50:56:09:00:02", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}}}
	var backings []types.BaseVirtualDeviceBackingInfo // the simulator makes others of them then
	v.Before = func(_ *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		if create, ok := m.Body.(*types.CreateVM_Task); ok {
			for _, c := range create.Config.DeviceChange {
				if card, ok := c.GetVirtualDeviceConfigSpec().Device.(*types.VirtualVmxnet3); ok {
					backings = append(backings, card.Backing)
				}
			}
		}
		return nil
	}
	_, err := h.Create(t.Context(), s)
	require.NoError(t, err)
	summary := segment.Summary.(*types.OpaqueNetworkSummary)
	assert.Equal(t, []types.BaseVirtualDeviceBackingInfo{&types.VirtualEthernetCardOpaqueNetworkBackingInfo{
		OpaqueNetworkId: summary.OpaqueNetworkId, OpaqueNetworkType: summary.OpaqueNetworkType,
	}}, backings)
}
