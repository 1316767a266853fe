// Package e2e holds the end-to-end tests: a real API server and scheduler, the node, and QEMU, driven as a user drives
// them. They run with the build tag e2e, after make build.
package e2e
