// Package vspherevch opens virtual container hosts on vSphere for package node, and for the commands that look after them.
//
//	v := vspherevch.New()
//	err := node.Serve(ctx, node.ServerConfig{Hypervisors: node.Hypervisors{VSphere: v, QEMU: …}, Guests: v, …})
//
// One function turns settings into the configuration of portlayer/vsphere. The guests of a process dial in here.
package vspherevch
