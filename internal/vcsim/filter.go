package vcsim

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// BeforeCall takes the filters of a session that is about to wait for updates out of the simulator's locks.
func BeforeCall(ctx *simulator.Context, m *simulator.Method) {
	if m.Name != "WaitForUpdatesEx" || ctx.Session == nil {
		return
	}
	for _, o := range ctx.Session.AllReference("PropertyFilter") {
		if f, ok := o.(*simulator.PropertyFilter); ok {
			ctx.Map.AddHandler(&filter{f}) // in the place of f
		}
	}
}

// filter hears of changes in the place of the filter that it has, and passes them on without a lock in hand.
type filter struct{ *simulator.PropertyFilter }

// UpdateObject passes on a change of what the filter starts from. Others are no news to it.
func (f *filter) UpdateObject(ctx *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	ref := obj.Reference()
	if !slices.ContainsFunc(f.Spec.ObjectSet, func(s types.ObjectSpec) bool { return s.Obj == ref }) {
		return
	}
	// What holds locks is the context. Of the object itself the filter wants no more than its name.
	free := *ctx
	// Ends when a wait for updates that goes on has read what there is.
	go f.PropertyFilter.UpdateObject(&free, ref, changes)
}
