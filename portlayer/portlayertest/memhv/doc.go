// Package memhv is a Hypervisor for tests that keeps its VMs in memory. A running VM has a fakeguest.Guest, reached
// through a port that behaves like virtio-serial: the guest does not see that its host changed, bytes of a former
// connection may come first, and what is written while nobody listens is lost.
//
// It passes portlayertest.Run, and fails on demand: [Hypervisor.Fail], [Hypervisor.Kill], [Hypervisor.Vanish],
// [Hypervisor.Cut], [Hypervisor.Silence].
package memhv
