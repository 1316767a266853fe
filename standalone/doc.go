// Package standalone keeps a cluster of one machine: the state directory of `vic up` with its lock, and the processes
// beside the node: the control plane, and a vCenter that is simulated.
//
// A state directory is used by one `vic up` at a time ([Open] refuses the second). The control plane is a process of
// its own, so that a kill -9 of vic leaves it behind; the next [StartControlPlane] on the same directory stops what was left
// and starts a new one on the same data.
//
// A simulated vCenter is one more ([StartSimulator]). Since pods run in it, one that was left is taken as it is.
package standalone
