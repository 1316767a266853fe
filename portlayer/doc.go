// Package portlayer runs VMs on a virtual container host (VCH). It knows VMs, disks, addresses and power, and not what the VMs are
// for. Package podvm builds on it and makes pods of VMs.
//
// A [Hypervisor] makes and runs VMs. What some hypervisors can do and others can't is a role, such as [Dialer] or
// [ConsoleReader]; [RoleOf] asks for one. A [Layer] is a hypervisor with what every VM needs: drafts that are committed as a
// whole, leases of addresses, one change at a time, and a list that observers follow.
//
// Words: a [Spec] is all that a hypervisor must know of a VM, and its ID names the VM everywhere. The [Owner] says what the VM
// is for, the [Boot] what it boots. A [Handle] is a draft of changes to one VM, pinned to the version it was opened at;
// nothing reaches the hypervisor before [Layer.Commit], and a stale handle is [ErrStaleHandle]. A [Scope] is a network that
// VMs join, with its pool of addresses; the leases are what the VMs carry.
//
// The record of a VM has a format number. The layer refuses a record of another format by name ([FormatError]) and leaves it as it is.
//
// Every operation may be called twice: creating what exists and deleting what is gone both succeed.
package portlayer
