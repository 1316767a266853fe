// Package qemuvch opens virtual container hosts on this host's QEMU for package node.
//
//	err := node.Serve(ctx, node.ServerConfig{Hypervisors: node.Hypervisors{QEMU: qemuvch.New(settings), VSphere: …}, …})
//
// [Open] does so on a network that the caller has opened.
package qemuvch
