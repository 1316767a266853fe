//go:build !race

package vsphere_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/vsphere"
)

// grouped is the spec of one of several pods that are to be spread.
func grouped(n int, group string) portlayer.Spec {
	s := numbered(n)
	s.SpreadGroup = group
	return s
}

// rules are how many VMs the cluster's rules have, by their names.
func (v *vcenter) rules() map[string]int {
	v.Helper()
	cluster, err := v.Finder().DefaultClusterComputeResource(v.Context())
	require.NoError(v, err)
	config, err := cluster.Configuration(v.Context())
	require.NoError(v, err)
	rules := map[string]int{}
	for _, r := range config.Rule {
		rule := r.(*types.ClusterAntiAffinityRuleSpec)
		assert.False(v, *rule.Mandatory, "a pod that can't be spread runs all the same")
		assert.True(v, *rule.Enabled)
		rules[rule.Name] = len(rule.Vm)
	}
	return rules
}

func (v *vcenter) awaitRules(want map[string]int) {
	v.Helper()
	require.Eventually(v, func() bool { return assert.ObjectsAreEqual(want, v.rules()) }, patience, 100*time.Millisecond)
}

// addRule has the cluster keep VMs apart, by hand.
func (v *vcenter) addRule(name string, vms ...types.ManagedObjectReference) {
	v.Helper()
	cluster, err := v.Finder().DefaultClusterComputeResource(v.Context())
	require.NoError(v, err)
	task, err := object.NewClusterComputeResource(v.Admin.Client, cluster.Reference()).Reconfigure(v.Context(), &types.ClusterConfigSpecEx{
		RulesSpec: []types.ClusterRuleSpec{{
			ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: types.ArrayUpdateOperationAdd},
			Info: &types.ClusterAntiAffinityRuleSpec{
				ClusterRuleInfo: types.ClusterRuleInfo{Name: name, Enabled: new(true), Mandatory: new(false)}, Vm: vms,
			},
		}},
	}, true)
	require.NoError(v, err)
	require.NoError(v, task.Wait(v.Context()))
}

func TestPodsOfAGroupAreKeptApart(t *testing.T) {
	v, plain := cluster(t)
	for n, group := range []string{"aa", "aa", "bb", "", ""} {
		_, err := plain.Create(t.Context(), grouped(n, group))
		require.NoError(t, err)
	}
	some := []types.ManagedObjectReference{v.Model.Map().Any("VirtualMachine").Reference()}
	v.addRule("vic/vch/old", some...)
	v.addRule("vic/another/aa", some...)
	v.addRule("people's", some...)
	plain.Close()
	changed := 0
	v.Before = func(_ *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		changed += count(m.Name, "ReconfigureComputeResource_Task")
		return nil
	}
	h := v.open(func(c *vsphere.Config) { c.AntiAffinity = true })
	others := map[string]int{"vic/another/aa": 1, "people's": 1}
	with := func(more map[string]int) map[string]int {
		maps.Copy(more, others)
		return more
	}
	v.awaitRules(with(map[string]int{"vic/vch/aa": 2})) // a rule of one VM is none, and the old one is gone
	require.Equal(t, 1, changed)

	for n := range 4 {
		_, err := h.Create(t.Context(), grouped(10+n, []string{"aa", "bb"}[n%2]))
		require.NoError(t, err)
	}
	v.awaitRules(with(map[string]int{"vic/vch/aa": 4, "vic/vch/bb": 3}))
	assert.LessOrEqual(t, changed, 3, "many changes are one task, or two where they came while one went on")
	for _, uid := range []string{"uid-0", "uid-1", "uid-10"} {
		require.NoError(t, h.Destroy(t.Context(), uid))
	}
	v.awaitRules(with(map[string]int{"vic/vch/bb": 3}))
}

// TestWithoutTheRightToSpreadPodsRun has a role that may not change the cluster.
func TestWithoutTheRightToSpreadPodsRun(t *testing.T) {
	v, plain := cluster(t)
	plain.Close()
	denied := make(chan struct{}, 16)
	v.Before = func(_ *simulator.Context, m *simulator.Method) types.BaseMethodFault {
		if m.Name == "ReconfigureComputeResource_Task" {
			denied <- struct{}{}
			return &types.NoPermission{PrivilegeId: "Host.Inventory.EditCluster"}
		}
		return nil
	}
	h := v.open(func(c *vsphere.Config) { c.AntiAffinity = true })
	for n := range 2 {
		_, err := h.Create(t.Context(), grouped(n, "aa"))
		require.NoError(t, err)
		require.NoError(t, h.PowerOn(t.Context(), grouped(n, "aa").ID))
	}
	<-denied
	vms, err := h.List(t.Context())
	require.NoError(t, err)
	assert.False(t, slices.ContainsFunc(vms, func(vm portlayer.VM) bool { return vm.State != portlayer.StateRunning }))
}
