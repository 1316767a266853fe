// Package testvcenter has a simulated vCenter or ESXi host, with TLS, for the tests of packages that speak to one.
//
// The simulator writes to a VM that it makes while others read it (v0.55.0, VirtualMachine.applyExtraConfig), which the race
// detector takes for ours. So the tests that have one run without it.
package testvcenter
