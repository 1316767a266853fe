// Package podvm runs pod VMs on a port layer: the link with the guest, the snapshots and logs that come over it, and the run
// directory that keeps them. It knows no Kubernetes, and leaves VMs alone whose owner is not a pod.
//
// [PodHost] is the contract that operations needs, in six parts; consumers ask for the parts that they use. [Host] implements it
// over a [portlayer.Layer]. A genuine VIC port layer, which has a guest and addresses of its own, implements PodHost by itself.
//
//	layer, err := portlayer.Open(ctx, portlayer.Config{Hypervisor: hypervisor, Scopes: scopes})
//	host, err := podvm.Open(ctx, podvm.Config{Layer: layer, RunDir: dir, NodeName: "node"})
//
// A pod VM's ID is the UID of its pod. The record of a VM outlives it: until Forget, the host shows a VM that is gone with State
// portlayer.StateRemoved.
package podvm
