//go:build !race

package vsphere_test

import (
	"crypto/sha256"
	"encoding/json"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/channels"
)

// carried are the instance UUID of the pod's VM and what stands in its extraConfig.
func (v *vcenter) carried() (string, map[string]string) {
	v.Helper()
	var facts mo.VirtualMachine
	vm := v.vm(uid)
	require.NoError(v, vm.Properties(v.Context(), vm.Reference(), []string{"config.instanceUuid", "config.extraConfig"}, &facts))
	extra := map[string]string{}
	for _, o := range facts.Config.ExtraConfig {
		value := o.GetOptionValue()
		extra[value.Key], _ = value.Value.(string)
	}
	return facts.Config.InstanceUuid, extra
}

// blob is what the guest of the pod's VM finds.
func (v *vcenter) blob() wire.Boot {
	v.Helper()
	_, extra := v.carried()
	b, err := wire.ParseBoot([]byte(extra[wire.BootGuestInfo]))
	require.NoError(v, err)
	return b
}

// powered is a VM that runs, with an address.
func powered(t *testing.T) (*vcenter, *vsphere.Hypervisor, string) {
	t.Helper()
	v, h := cluster(t)
	s := spec()
	s.NICs = []portlayer.NIC{{
		Scope: "pods", MAC: "00:50:56:09:00:02", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}, Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1")},
	}}
	_, err := h.Create(t.Context(), s)
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	name, _ := v.carried()
	return v, h, name
}

func TestEachPowerOnHasATokenOfItsOwn(t *testing.T) {
	v, h, name := powered(t)
	first := v.blob()
	assert.Equal(t, name, first.VM)
	assert.Equal(t, []wire.Interface{{
		MAC: "00:50:56:09:00:02", Addresses: []netip.Prefix{netip.MustParsePrefix("10.9.0.2/24")}, Gateways: []netip.Addr{netip.MustParseAddr("10.9.0.1")},
	}}, first.Interfaces)
	vm, ok := h.Guest(name)
	require.True(t, ok)
	assert.Equal(t, sha256.Sum256([]byte(first.Token)), vm.TokenHash)
	assert.Equal(t, "10.9.0.2", vm.Addresses[0].String())
	assert.NotEmpty(t, vm.Boot)
	_, extra := v.carried()
	for key, value := range extra {
		assert.True(t, key == wire.BootGuestInfo || !strings.Contains(value, first.Token), "%s has the token", key)
	}

	require.NoError(t, h.PowerOff(t.Context(), uid))
	off, _ := h.Guest(name)
	assert.Empty(t, off.Boot)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	again, _ := h.Guest(name)
	assert.NotEqual(t, vm.Boot, again.Boot)
	assert.NotEqual(t, vm.TokenHash, again.TokenHash)
	assert.NotEqual(t, first.Token, v.blob().Token)
	_, ok = h.Guest("unknown")
	assert.False(t, ok)
}

func TestTheNextProcessKnowsWhoHasJoined(t *testing.T) {
	v, h, name := powered(t)
	vm, _ := h.Guest(name)
	key := sha256.Sum256([]byte("key"))
	require.NoError(t, h.Join(t.Context(), name, vm.Boot, key))
	require.ErrorIs(t, h.Join(t.Context(), name, vm.Boot, sha256.Sum256([]byte("other"))), portlayer.ErrBusy)
	require.ErrorIs(t, h.Join(t.Context(), name, "another boot", key), portlayer.ErrBusy)
	require.ErrorIs(t, h.Join(t.Context(), "unknown", vm.Boot, key), portlayer.ErrNotFound)

	next := v.open()
	seen, ok := next.Guest(name)
	require.True(t, ok)
	assert.Equal(t, channels.VM{Addresses: vm.Addresses, TokenHash: vm.TokenHash, Boot: vm.Boot, Joined: vm.Boot, Key: key}, seen)
}

func TestARestartByTheClusterIsAnotherBoot(t *testing.T) {
	v, h, name := powered(t)
	vm, _ := h.Guest(name)
	require.NoError(t, h.Join(t.Context(), name, vm.Boot, [32]byte{1}))
	blob := v.blob()
	changes := h.Watch(t.Context())
	v.powerOff()
	v.powerOn()
	await(t, changes, func() bool { now, _ := h.Guest(name); return now.Boot != "" && now.Boot != vm.Boot })
	now, _ := h.Guest(name)
	assert.Equal(t, vm.Boot, now.Joined, "the new boot may join")
	assert.Equal(t, blob, v.blob(), "with the same blob")
	assert.Equal(t, sha256.Sum256([]byte(blob.Token)), now.TokenHash)
}

// TestAVMThatMovesKeepsItsBoot has vCenter forget when a VM was powered on, as it may when a VM moves to another host.
func TestAVMThatMovesKeepsItsBoot(t *testing.T) {
	v, h, name := powered(t)
	before, _ := h.Guest(name)
	require.NoError(t, h.Join(t.Context(), name, before.Boot, [32]byte{1}))
	vm := v.Model.Map().Get(v.vm(uid).Reference()).(*simulator.VirtualMachine)
	v.Model.Service.Context.WithLock(vm, func() { vm.Summary.Runtime.BootTime, vm.Runtime.BootTime = nil, nil })
	changes := h.Watch(t.Context())
	task, err := v.vm(uid).Reconfigure(t.Context(), types.VirtualMachineConfigSpec{Annotation: "moved"})
	require.NoError(t, err)
	require.NoError(t, task.Wait(t.Context()))
	<-changes
	now, _ := h.Guest(name)
	assert.Equal(t, before.Boot, now.Boot)
	next, _ := v.open().Guest(name)
	assert.Equal(t, before.Boot, next.Boot, "the next process knows no better, and asks for no other")
	assert.Equal(t, before.Boot, next.Joined)
}

// TestAVMThatIsPoweredOnByHandEndsByItself has it powered off by us before.
func TestAVMThatIsPoweredOnByHandEndsByItself(t *testing.T) {
	v, h, name := powered(t)
	require.NoError(t, h.PowerOff(t.Context(), uid))
	requireState(t, h, portlayer.StateStopped, false)
	changes := h.Watch(t.Context())
	v.powerOn()
	await(t, changes, func() bool { vm, _ := h.Guest(name); return vm.Boot != "" })
	vm, _ := h.Guest(name)
	require.NoError(t, h.Join(t.Context(), name, vm.Boot, [32]byte{1}))
	v.powerOff()
	await(t, changes, func() bool { vm, _ := get(t, h); return vm.State == portlayer.StateStopped })
	requireState(t, h, portlayer.StateStopped, true)
	requireState(t, v.open(), portlayer.StateStopped, true)
}

func TestAGuestThatRebootsEndsItsVM(t *testing.T) {
	_, h, name := powered(t)
	vm, _ := h.Guest(name)
	require.NoError(t, h.Rebooted(t.Context(), name, "another boot"))
	got, _ := get(t, h)
	require.Equal(t, portlayer.StateRunning, got.State)
	require.NoError(t, h.Rebooted(t.Context(), name, vm.Boot))
	got, _ = get(t, h)
	assert.Equal(t, portlayer.StateStopped, got.State)
	assert.Equal(t, "the guest rebooted", got.StopReason)
	require.NoError(t, h.Rebooted(t.Context(), "unknown", vm.Boot))
}

func TestWhatAVMCarriesHasNoSecretButItsToken(t *testing.T) {
	v, _, _ := powered(t)
	_, extra := v.carried()
	var join map[string]any
	require.NoError(t, json.Unmarshal([]byte(extra["vic.join"]), &join))
	assert.Len(t, join["tokenHash"], 64)
	boot := v.blob()
	boot.Token = ""
	assert.Equal(t, wire.Boot{Version: wire.BootVersion, VM: boot.VM, Interfaces: boot.Interfaces, Hosts: boot.Hosts, CA: boot.CA, Time: boot.Time}, boot)
}

func TestAVMThatSomebodyPowersOnFirstHasATokenThatCounts(t *testing.T) {
	v, h, name := powered(t)
	require.NoError(t, h.PowerOff(t.Context(), uid))
	vm, former := v.vm(uid), v.guests.blob(name)
	var meddle sync.Once
	next := v.Model.Map().Handler
	v.Model.Map().Handler = func(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		if method.Name == "ReconfigVM_Task" {
			meddle.Do(func() { // after the VM was seen to be off, and before it has its new token
				task, err := vm.PowerOn(t.Context())
				if assert.NoError(t, err) {
					assert.NoError(t, task.Wait(t.Context()))
				}
			})
		}
		return next(ctx, method)
	}
	require.NoError(t, h.PowerOn(t.Context(), uid))
	read, err := wire.ParseBoot([]byte(v.guests.blob(name)))
	require.NoError(t, err)
	assert.NotEqual(t, former, v.guests.blob(name))
	guest, ok := h.Guest(name)
	require.True(t, ok)
	assert.Equal(t, sha256.Sum256([]byte(read.Token)), guest.TokenHash)
	assert.NotEmpty(t, guest.Boot, "it is on")
}
