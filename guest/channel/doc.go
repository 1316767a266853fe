// Package channel is how a guest gets its bytes: it finds or opens the byte stream to its host, reads the preambles of host
// connections from it, and serves HTTP on the yamux streams of each ([Serve]).
//
// On QEMU the stream is a virtio-serial port that the hypervisor gave the VM ([OpenPort]). Elsewhere the guest finds the boot
// blob ([BlobFinder]), which says where its host is, and dials out ([Dialer]).
//
//	port, err := channel.OpenPort(ctx, "/sys", "/dev", "vic.guest.0")
//	...
//	err = channel.Serve(ctx, port, handler)
package channel
