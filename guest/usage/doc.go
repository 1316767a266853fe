// Package usage reads what parts of a system use: cgroups of version 2, network interfaces, file systems.
//
// Counters are the kernel's own; nothing is kept between two calls.
//
//	u, err := usage.OfCgroup("/sys/fs/cgroup/pod/app")
package usage
