// Package vcsim mends what govmomi's simulator (v0.55.0) does wrong under load, from outside of it.
//
// A wait for updates locks its filter and then the view that the filter starts from; a change of that view (a task that is
// added to a list view, a VM that is created in a container view's folder) locks the view and then the filter. Where both
// happen at once the simulator stands still for ever. A program that serves the simulator calls BeforeCall from
// Registry.Handler:
//
//	model.Map().Handler = func(ctx *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
//		vcsim.BeforeCall(ctx, m)
//		return nil, nil
//	}
package vcsim
