package vsphere

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/fault"
	"github.com/vmware/govmomi/vim25/types"
)

func ref(name string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "VirtualMachine", Value: name}
}

func TestAVMThatKeepsItsConfigurationToItselfHidesNoOther(t *testing.T) {
	name := []types.DynamicProperty{{Name: "name", Val: "pod"}}
	missing := func(f types.BaseMethodFault) []types.MissingProperty {
		return []types.MissingProperty{{Path: "config.extraConfig", Fault: types.LocalizedMethodFault{Fault: f}}}
	}
	seen, err := seenVMs([]types.ObjectContent{
		{Obj: ref("vm-1"), PropSet: name, MissingSet: missing(&types.NoPermission{})},
		{Obj: ref("vm-2"), PropSet: append(name, types.DynamicProperty{Name: "config.instanceUuid", Val: "uuid"})},
	})
	require.NoError(t, err)
	require.Len(t, seen, 2)
	assert.Contains(t, seen[0].hidden, "its config.extraConfig can't be read")
	assert.Equal(t, "pod", seen[0].Name)
	assert.Empty(t, seen[1].hidden)
	assert.Equal(t, "uuid", seen[1].Config.InstanceUuid)
	_, err = seenVMs([]types.ObjectContent{{Obj: ref("vm-1"), MissingSet: missing(&types.NotAuthenticated{})}})
	assert.True(t, fault.Is(err, &types.NotAuthenticated{}), "a lost session says nothing about a VM")
}

func TestThatAllVMsAreGoneIsBelievedAfterAMinute(t *testing.T) {
	i := &inventory{vms: map[types.ManagedObjectReference]ownedVM{ref("vm-1"): {}, ref("vm-2"): {}}}
	now := time.Now()
	assert.False(t, i.doubtLocked(1, now), "one of two")
	assert.True(t, i.doubtLocked(2, now))
	assert.True(t, i.doubtLocked(2, now.Add(doubt-time.Second)))
	assert.False(t, i.doubtLocked(2, now.Add(doubt)))
	assert.False(t, i.doubtLocked(0, now.Add(doubt)), "they are there again")
	assert.True(t, i.doubtLocked(2, now.Add(doubt)), "another time")
	delete(i.vms, ref("vm-2"))
	assert.False(t, i.doubtLocked(1, now), "the only one may be removed by hand")
}

func TestAVMThatIsBeingMadeIsNotUnreadable(t *testing.T) {
	i := newInventory(&Session{}, nil, types.ManagedObjectReference{}, hooks{})
	i.looked = true
	made := seenVM{hidden: "no configuration"}
	made.Self, made.Name = ref("vm-1"), "pod"
	i.hideLocked(t.Context(), made)
	names, c := i.blind(time.Now())
	assert.Empty(t, names)
	assert.False(t, c.True)
	names, c = i.blind(time.Now().Add(beingMade))
	assert.Equal(t, []string{"pod"}, names)
	assert.True(t, c.True)
}
