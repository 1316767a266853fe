// Package guest is PID 1 of a pod VM: it makes an initrd a system, waits for a host, and runs the pod's containers
// whether or not a host is there.
//
// A reader follows a pod by its packages:
//
//	boot        mounts, modules, clock, power
//	channel     the byte stream to the host, found or dialled; wire has what is said on it
//	server      HTTP calls
//	network     addresses           disk     image disks and the scratch disk
//	volume      volumes             logfile  what containers write
//	supervisor  restart policy, states, events
//	oci, crun   one container's start; process reaps it and holds a shared process namespace; stdio moves streams
//
// [Run] is all of it; cmd/vic-guest calls it.
package guest
