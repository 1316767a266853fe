package vsphere

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/property"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"github.com/virtual-kubelet/vic/portlayer/vsphere/internal/vcenter"
)

const (
	// spreadPause is how long changes are gathered: each change of rules is a reconfiguration of the whole cluster.
	spreadPause = 2 * time.Second
	// spreadRetry is how long a reconfiguration that failed is left alone.
	spreadRetry = time.Minute
)

// spreadGroups are the VMs that should run on different hosts, by group, in order. One VM alone needs no rule.
type spreadGroups map[string][]types.ManagedObjectReference

func (g spreadGroups) equal(other spreadGroups) bool {
	return maps.EqualFunc(g, other, slices.Equal[[]types.ManagedObjectReference])
}

// spread keeps a DRS rule for each spread group until ctx ends.
func (h *Hypervisor) spread(ctx context.Context) {
	var applied spreadGroups // nil is not known: rules of a former process may be there
	h.keep(ctx, keeper{what: "anti-affinity", pause: spreadPause, retry: spreadRetry, apply: func(ctx context.Context) error {
		due := h.seen.spreadGroups()
		if applied != nil && due.equal(applied) {
			return nil
		}
		applied = nil
		if err := h.applySpread(ctx, due); err != nil {
			return err
		}
		applied = due
		return nil
	}})
}

// applySpread makes the cluster's rules of this VCH those of some groups, with one task or none.
func (h *Hypervisor) applySpread(ctx context.Context, due spreadGroups) error {
	cluster, err := vcenter.ClusterOf(ctx, property.DefaultCollector(h.client), h.place.pool.Reference())
	if err != nil {
		return err
	}
	var facts mo.ClusterComputeResource
	if err := property.DefaultCollector(h.client).RetrieveOne(ctx, cluster, []string{"configurationEx"}, &facts); err != nil {
		return fmt.Errorf("read rules: %w", err)
	}
	info, ok := facts.ConfigurationEx.(*types.ClusterConfigInfoEx)
	if !ok {
		return fmt.Errorf("read rules: the cluster has %T", facts.ConfigurationEx)
	}
	changes := ruleChanges(info.Rule, "vic/"+h.config.Name+"/", due)
	if len(changes) == 0 {
		return nil
	}
	task, err := object.NewClusterComputeResource(h.client, cluster).Reconfigure(ctx, &types.ClusterConfigSpecEx{RulesSpec: changes}, true)
	if _, err := h.tasks.await(ctx, task, err); err != nil {
		return fmt.Errorf("change %d rules: %w", len(changes), err)
	}
	return nil
}

// ruleChanges turn those of a cluster's rules whose names begin with prefix into one for each group.
func ruleChanges(rules []types.BaseClusterRuleInfo, prefix string, due spreadGroups) []types.ClusterRuleSpec {
	var changes []types.ClusterRuleSpec
	there := map[string]bool{}
	for _, r := range rules {
		info := r.GetClusterRuleInfo()
		group, ours := strings.CutPrefix(info.Name, prefix)
		if !ours {
			continue
		}
		vms, wanted := due[group]
		rule, is := r.(*types.ClusterAntiAffinityRuleSpec)
		switch {
		case !wanted || !is || there[group]:
			changes = append(changes, types.ClusterRuleSpec{ArrayUpdateSpec: types.ArrayUpdateSpec{
				Operation: types.ArrayUpdateOperationRemove, RemoveKey: info.Key,
			}})
			continue
		case !slices.Equal(slices.SortedFunc(slices.Values(rule.Vm), byValue), vms):
			changes = append(changes, antiAffinity(types.ArrayUpdateOperationEdit, info.Key, info.Name, vms))
		}
		there[group] = true
	}
	for _, group := range slices.Sorted(maps.Keys(due)) {
		if !there[group] {
			changes = append(changes, antiAffinity(types.ArrayUpdateOperationAdd, 0, prefix+group, due[group]))
		}
	}
	return changes
}

func antiAffinity(how types.ArrayUpdateOperation, key int32, name string, vms []types.ManagedObjectReference) types.ClusterRuleSpec {
	return types.ClusterRuleSpec{
		ArrayUpdateSpec: types.ArrayUpdateSpec{Operation: how},
		Info: &types.ClusterAntiAffinityRuleSpec{
			// A rule that is not mandatory lets a VM start where it can't be kept (vSphere API reference, ClusterRuleInfo.mandatory).
			ClusterRuleInfo: types.ClusterRuleInfo{Key: key, Name: name, Enabled: new(true), Mandatory: new(false), UserCreated: new(true)},
			Vm:              vms,
		},
	}
}

func byValue(a, b types.ManagedObjectReference) int { return cmp.Compare(a.Value, b.Value) }

// spreadGroups are those of all VMs, on or off.
func (i *inventory) spreadGroups() spreadGroups {
	groups := spreadGroups{}
	i.mu.Lock()
	for ref, vm := range i.vms {
		if g := vm.record.spec.SpreadGroup; g != "" {
			groups[g] = append(groups[g], ref)
		}
	}
	i.mu.Unlock()
	maps.DeleteFunc(groups, func(_ string, vms []types.ManagedObjectReference) bool { return len(vms) < 2 })
	for _, vms := range groups {
		slices.SortFunc(vms, byValue)
	}
	return groups
}
