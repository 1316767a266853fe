// Package portlayer runs pod VMs on a virtual container host (VCH). It knows VMs, disks, addresses and the guest in
// them, and no Kubernetes.
//
// There are two contracts. [PodHost] is what operations needs of a host of pod VMs: drafts and commits, power, the
// guest's plan, states, logs and exec. [Hypervisor] is the smaller part below: VMs, disks, NICs, power and a byte channel.
// [Engine] is a PodHost over any Hypervisor. A genuine VIC port layer, which has a guest and addresses of its own,
// implements PodHost by itself.
//
// Words: a [Handle] is a draft of changes to one pod VM, pinned to the version it was opened at; nothing reaches the
// hypervisor before [PodHost.Commit], and a stale handle is [ErrStaleHandle]. A [Scope] is a network that pod VMs join,
// with its address pool; the leases are what the VMs carry. A pod VM is named by the UID of its pod, everywhere.
//
// Every operation may be called twice: creating what exists and deleting what is gone both succeed.
package portlayer
