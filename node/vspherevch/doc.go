// Package vspherevch opens virtual container hosts on vSphere for package node, and for the commands that look after them.
//
//	v := vspherevch.New()
//	err := node.Serve(ctx, node.ServerConfig{Hypervisors: node.Hypervisors{VSphere: v, QEMU: …}, Guests: v, …})
//
// It is where settings become what portlayer/vsphere wants, in one function, and where the guests of a process dial in.
package vspherevch
