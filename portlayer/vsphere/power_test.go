//go:build !race

package vsphere_test

import (
	"context"
	"crypto/sha256"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

func nic(address string) []portlayer.NIC {
	a := netip.MustParsePrefix(address)
	return []portlayer.NIC{{Scope: "pods", MAC: vsphere.HardwareAddress(a.Addr()).String(), Addresses: []netip.Prefix{a}}}
}

// addressed is the spec of a pod with an address.
func addressed(address string) portlayer.Spec {
	s := spec()
	s.NICs = nic(address)
	return s
}

// requireState requires that a VCH shows the pod's VM in a state, with a reason if it stopped by itself.
func requireState(t *testing.T, h *vsphere.Hypervisor, want portlayer.State, byItself bool) {
	t.Helper()
	vm, ok := get(t, h)
	require.True(t, ok)
	require.Equal(t, want, vm.State)
	require.Equal(t, byItself, vm.StopReason != "", vm.StopReason)
}

func TestTheFirstBootNeedsNoTaskButThePowerOn(t *testing.T) {
	v, h, d := behindDoor(t)
	made, err := h.Create(t.Context(), addressed("10.9.0.2/24"))
	require.NoError(t, err)
	assert.Zero(t, made.StartedAt)
	requireState(t, h, portlayer.StateCreated, false)
	blob := v.blob()
	name, _ := v.carried()
	vm, ok := h.Guest(name)
	require.True(t, ok)
	assert.Equal(t, sha256.Sum256([]byte(blob.Token)), vm.TokenHash, "a token is known from its first moment")
	assert.Empty(t, vm.Boot, "and worth nothing before the power is on")

	changed := 0
	d.set(func(d *door) {
		d.before = func(call string) bool { changed += count(call, "ReconfigVM_Task"); return true }
	})
	require.NoError(t, h.PowerOn(t.Context(), uid))
	assert.Zero(t, changed)
	assert.Equal(t, blob, v.blob())
	requireState(t, h, portlayer.StateRunning, false)
	require.NoError(t, h.PowerOff(t.Context(), uid))
	requireState(t, h, portlayer.StateStopped, false)
	requireState(t, v.open(), portlayer.StateStopped, false)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	assert.NotEqual(t, blob.Token, v.blob().Token, "another power-on is another token")
}

func count(call, of string) int {
	if call == of {
		return 1
	}
	return 0
}

// TestAVMThatWasCreatedAndNotStarted has the process end in between.
func TestAVMThatWasCreatedAndNotStarted(t *testing.T) {
	v, h := cluster(t)
	_, err := h.Create(t.Context(), addressed("10.9.0.2/24"))
	require.NoError(t, err)
	token := v.blob().Token
	h.Close()

	next := v.open()
	requireState(t, next, portlayer.StateCreated, false)
	require.NoError(t, next.PowerOn(t.Context(), uid))
	requireState(t, next, portlayer.StateRunning, false)
	name, _ := v.carried()
	vm, _ := next.Guest(name)
	assert.NotEqual(t, token, v.blob().Token, "it does not know what the former process had in mind")
	assert.Equal(t, sha256.Sum256([]byte(v.blob().Token)), vm.TokenHash)
}

func TestAnUpdateBeforeTheFirstBootCounts(t *testing.T) {
	v, h := cluster(t)
	made, err := h.Create(t.Context(), addressed("10.9.0.2/24"))
	require.NoError(t, err)
	token := v.blob().Token
	_, err = h.Update(t.Context(), addressed("10.9.0.3/24"), made.Version)
	require.NoError(t, err)
	requireState(t, h, portlayer.StateCreated, false)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	assert.Equal(t, netip.MustParsePrefix("10.9.0.3/24"), v.blob().Interfaces[0].Addresses[0])
	assert.NotEqual(t, token, v.blob().Token)
}

// TestTheNextProcessKnowsWhatRan has VMs that ended by themselves, with and without their guest having joined.
func TestTheNextProcessKnowsWhatRan(t *testing.T) {
	for name, joins := range map[string]bool{"its guest had joined": true, "its guest had not joined": false} {
		t.Run(name, func(t *testing.T) {
			v, h := cluster(t)
			_, err := h.Create(t.Context(), addressed("10.9.0.2/24"))
			require.NoError(t, err)
			require.NoError(t, h.PowerOn(t.Context(), uid))
			vmName, extra := v.carried()
			require.NotContains(t, extra, "vic.power", "the first power-on is not a task more")
			if joins {
				vm, _ := h.Guest(vmName)
				require.NoError(t, h.Join(t.Context(), vmName, vm.Boot, [32]byte{1}))
				h.Close() // it sees nothing of the end
			}
			v.powerOff()
			require.Eventually(t, func() bool { _, extra := v.carried(); return extra["vic.power"] != "" }, patience, 50*time.Millisecond)
			requireState(t, v.open(), portlayer.StateStopped, true)
		})
	}
}

// TestAPowerOnWhoseAnswerGetsLost has vCenter start a VM without an answer.
func TestAPowerOnWhoseAnswerGetsLost(t *testing.T) {
	for name, boots := range map[string]int{"of the first boot": 0, "of another boot": 1} {
		t.Run(name, func(t *testing.T) {
			v, h, d := behindDoor(t)
			_, err := h.Create(t.Context(), addressed("10.9.0.2/24"))
			require.NoError(t, err)
			for range boots {
				require.NoError(t, h.PowerOn(t.Context(), uid))
				require.NoError(t, h.PowerOff(t.Context(), uid))
			}
			asked, token := 0, ""
			d.set(func(d *door) {
				d.after = func(call string) bool {
					asked += count(call, "PowerOnVM_Task")
					return call != "PowerOnVM_Task" || asked > 1
				}
			})
			require.ErrorIs(t, h.PowerOn(t.Context(), uid), portlayer.ErrBusy)
			token = v.blob().Token
			require.Eventually(t, func() bool {
				state, err := v.vm(uid).PowerState(t.Context())
				return err == nil && state == types.VirtualMachinePowerStatePoweredOn
			}, patience, 50*time.Millisecond)
			require.NoError(t, h.PowerOn(t.Context(), uid), "it runs, and that is what was wanted")
			requireState(t, h, portlayer.StateRunning, false)
			assert.Equal(t, token, v.blob().Token, "its guest may have read it")
			vmName, _ := v.carried()
			vm, _ := h.Guest(vmName)
			assert.Equal(t, sha256.Sum256([]byte(token)), vm.TokenHash)
			assert.Equal(t, 1, v.vms())
			require.NoError(t, h.Destroy(context.WithoutCancel(t.Context()), uid))
			assert.Zero(t, v.vms())
		})
	}
}

func TestAnotherPowerOnThatFailsLeavesTheVMAsItWas(t *testing.T) {
	v, h := cluster(t)
	_, err := h.Create(t.Context(), addressed("10.9.0.2/24"))
	require.NoError(t, err)
	require.NoError(t, h.PowerOn(t.Context(), uid))
	require.NoError(t, h.PowerOff(t.Context(), uid))
	before, _ := get(t, h)
	reg := v.Model.Map()
	vm0 := reg.Get(v.vm(uid).Reference()).(*simulator.VirtualMachine)
	reg.Put(&starved{vm0, &types.InsufficientMemoryResourcesFault{}})
	require.ErrorIs(t, h.PowerOn(t.Context(), uid), portlayer.ErrOutOfMemory)
	requireState(t, h, portlayer.StateStopped, false)
	after, _ := get(t, h)
	assert.Equal(t, before, after)
	requireState(t, v.open(), portlayer.StateStopped, false)
	reg.Put(vm0)
	require.NoError(t, h.PowerOn(t.Context(), uid))
}
