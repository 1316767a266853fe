// Package standalone keeps a cluster of one host: the processes of `vic up` beside the node, which are the control plane and a
// vCenter that is simulated.
//
// The control plane is a process of its own, so that a kill -9 of vic leaves it behind; the next [StartControlPlane] on the
// same state directory stops what was left and starts a new one on the same data.
//
// A simulated vCenter is another such process ([StartSimulator]). Pods run in it, so one that was left is used as it is.
package standalone
