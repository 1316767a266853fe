// Package node opens, serves, tries again and closes the nodes of a process.
//
// A [Fleet] serves several independent nodes: it tries again a node that can't be opened, or fails, and delays no other. It knows
// neither hypervisors nor where the specs of the nodes come from.
package node
