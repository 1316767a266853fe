// Package channel carries a host's calls: it finds the virtio-serial port that the hypervisor gave the VM, reads the
// preambles of host connections from it, and serves HTTP on the yamux streams of each.
package channel
