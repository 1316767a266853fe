//go:build !race

// Package testvcenter says why its users run without the race detector.

package vsphere_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vslm"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

// patience is how long the simulator may take: it reports changes slowly when it is busy.
const patience = 2 * time.Minute

// vcenter is a simulated vCenter or ESXi whose VMs have guests.
type vcenter struct {
	*testvcenter.Server
	guests *guests
}

// withGuests has fake guests in the VMs of a vCenter.
func withGuests(s *testvcenter.Server) *vcenter {
	v := &vcenter{Server: s, guests: newGuests()}
	s.Model.Map().AddHandler(v.guests)
	v.guests.powerOff = func(ref types.ManagedObjectReference) {
		// Ends with the task, which a test may not see the end of.
		go func() {
			_, _ = object.NewVirtualMachine(s.Admin.Client, ref).PowerOff(context.WithoutCancel(s.Context()))
		}()
	}
	return v
}

// open opens a VCH in the simulated inventory.
func (v *vcenter) open(change ...func(*vsphere.Config)) *vsphere.Hypervisor {
	v.Helper()
	session, err := vsphere.Connect(v.Context(), v.Target)
	require.NoError(v, err)
	cfg := vsphere.Config{
		Name: "vch", Session: session, Guests: v.guests, Networks: map[string]string{"pods": "VM Network"},
	}
	for _, c := range change {
		c(&cfg)
	}
	h, err := vsphere.Open(v.Context(), cfg)
	require.NoError(v, err)
	v.Cleanup(func() {
		h.Close()
		session.Close(context.WithoutCancel(v.Context()))
	})
	return h
}

// powerOn and powerOff do it by hand.
func (v *vcenter) powerOn() {
	v.Helper()
	task, err := v.vm(uid).PowerOn(v.Context())
	require.NoError(v, err)
	require.NoError(v, task.Wait(v.Context()))
}

func (v *vcenter) powerOff() {
	v.Helper()
	task, err := v.vm(uid).PowerOff(v.Context())
	require.NoError(v, err)
	require.NoError(v, task.Wait(v.Context()))
}

// volume makes a first-class disk and returns its ID.
func (v *vcenter) volume(name string) string {
	v.Helper()
	store, err := v.Finder().DefaultDatastore(v.Context())
	require.NoError(v, err)
	task, err := vslm.NewObjectManager(v.Admin.Client).CreateDisk(v.Context(), types.VslmCreateSpec{
		Name: name, CapacityInMB: 64,
		BackingSpec: &types.VslmCreateSpecDiskFileBackingSpec{
			VslmCreateSpecBackingSpec: types.VslmCreateSpecBackingSpec{Datastore: store.Reference()},
		},
	})
	require.NoError(v, err)
	info, err := task.WaitForResult(v.Context())
	require.NoError(v, err)
	return info.Result.(types.VStorageObject).Config.Id.Id
}

// await waits for changes until is holds.
func await(t *testing.T, changes <-chan string, is func() bool) {
	t.Helper()
	until := time.After(patience)
	for !is() {
		select {
		case <-changes:
		case <-until:
			require.Fail(t, "it was not seen")
		}
	}
}

// vm is the VM of a pod, as an administrator finds it.
func (v *vcenter) vm(uid string) *object.VirtualMachine {
	v.Helper()
	vm, err := v.Finder().VirtualMachine(v.Context(), "default-pod-"+uid)
	require.NoError(v, err)
	return vm
}
