// Package standalone runs a cluster of one machine: a node, the control plane beside it, and where it is wanted a vCenter that is
// simulated.
//
//	err := standalone.Run(ctx, standalone.Config{Settings: settings, …}) // until ctx ends
//
// The control plane is a process of its own, so that a kill -9 of vic leaves it behind; the next [StartControlPlane] on the
// same state directory stops what was left and starts a new one on the same data.
//
// A simulated vCenter is one more ([StartSimulator]). Since pods run in it, one that was left is taken as it is.
package standalone
