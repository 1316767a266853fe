// Package e2e holds the end-to-end tests: a real API server and scheduler, the node, and QEMU, driven as a user drives
// them. They run with the build tag e2e, after make build; with -vsphere on a simulated vCenter.
//
// Tests that only have pods of their own on the shared cluster run side by side. Tests that count what is there, look at the
// log of vic, share settings of registries or have clusters of their own run before them, one by one.
package e2e
