// Package testinitrd puts other programs into the initrd that pod VMs boot, for tests: the kernel unpacks a second archive
// over the first.
package testinitrd
