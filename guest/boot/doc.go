// Package boot makes an initrd a system: it moves the root where containers can pivot away from it, mounts the kernel's
// file systems, loads modules, and at the end powers the VM off. Everything in it needs to be PID 1.
package boot
