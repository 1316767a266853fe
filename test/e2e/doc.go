// Package e2e holds the end-to-end tests: a real API server and scheduler, the node, and QEMU, driven as a user drives
// them. They run with the build tag e2e, after make build; with -vsphere on a simulated vCenter.
//
// Tests run side by side when they have only pods, nodes or clusters of their own. The few that look at the log of the shared
// vic, delete its node or count what is in use run before them, one by one.
package e2e
