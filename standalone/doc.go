// Package standalone keeps a cluster of one machine: the state directory of `vic up` with its lock, and the control
// plane that runs beside the node as a child process.
//
// A state directory is used by one `vic up` at a time ([Open] refuses the second). The control plane is a process of
// its own, so that a kill -9 of vic leaves it behind; the next [StartControlPlane] on the same directory stops what was left
// and starts a new one on the same data.
package standalone
