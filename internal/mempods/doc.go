// Package mempods is a host of pod VMs in memory, for tests: there is no VM and no file, and a guest of package fakeguest
// stands for what runs in a VM. It is a [podvm.PodHost] of its own, as the one of a VIC port layer would be: it needs no
// hypervisor, no port layer and no channel to its guests.
//
//	store := mempods.NewStore()
//	host := mempods.New(store)
//
// The [Store] has the VMs and what is kept of them; a [Host] has nothing, so another one over the same store is the next run
// of the program. What runs in a VM ends when the VM is powered off, removed or killed, and not with the host.
package mempods
