//go:build !race

package vch_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer/vsphere"
	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/testvcenter"
)

func onDistributed(c *vsphere.Config) { c.Networks = map[string]string{"pods": "DC0_DVPG0"} }

// allow sets what the distributed port group lets VMs do.
func allow(v *testvcenter.Server, promiscuous, macChanges, forged bool) {
	v.Helper()
	var group *simulator.DistributedVirtualPortgroup
	for _, one := range v.Model.Map().All("DistributedVirtualPortgroup") { // the switch's uplinks are one too
		if g := one.(*simulator.DistributedVirtualPortgroup); g.Name == "DC0_DVPG0" {
			group = g
		}
	}
	require.NotNil(v, group)
	v.Model.Service.Context.WithLock(group, func() {
		group.Config.DefaultPortConfig = &types.VMwareDVSPortSetting{MacManagementPolicy: &types.DVSMacManagementPolicy{
			AllowPromiscuous: &promiscuous, MacChanges: &macChanges, ForgedTransmits: &forged,
		}}
	})
}

func TestCheckDemandsThatAPodCannotTakeANeighboursPlace(t *testing.T) {
	const subject = "source checks of scope pods"
	v := testvcenter.Cluster(t)
	allow(v, false, false, false)
	found := checked(v, onDistributed)
	require.NoError(t, found[subject].Err)
	assert.Contains(t, found[subject].Detail, "SpoofGuard")
	allow(v, false, true, true)
	found = checked(v, onDistributed)
	require.ErrorContains(t, found[subject].Err, "set MAC address changes, Forged transmits to Reject")
	assert.NotContains(t, found[subject].Err.Error(), "Promiscuous")

	standard := checked(v)[subject]
	require.Contains(t, standard.Subject+standard.Detail, "source checks")
}

func TestCheckSaysThatPrivilegesWereLookedAt(t *testing.T) {
	assert.Contains(t, checked(testvcenter.Cluster(t))["privileges"].Detail, "looked at on 4 objects")
}
