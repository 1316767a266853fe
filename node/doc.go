// Package node opens, serves, tries again and closes the nodes of a process.
//
// A [Fleet] is several nodes, each by itself: one that can't be opened, or fails, is tried again and holds up no other. It knows
// neither hypervisors nor where the specs of the nodes come from.
package node
