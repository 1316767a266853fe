// Package network is the network that the pod VMs of one VCH join on a Linux host, made as root.
//
// A network namespace is a pure layer-2 switch: a bridge, a tap for each VM, and one end of a veth. The other end, in
// the host's own namespace, carries the gateway's address, so pods reach the host and the host reaches them.
// nftables translate what pods send elsewhere, and in the switch drop every frame whose sender is not the VM it comes
// from. VMs have IPv4 only.
//
//	vic-<hash>      the namespace and the host's nft table
//	vic<hash>       the host's end of the veth, with the gateway's address
//	uplink, br0     in the namespace: the other end, and the bridge
//	t<hash>         in the namespace: a VM's tap, named by its port
//
// All names come from a hash of the VCH's directory, so that several VCHs work side by side. Opening a network makes
// what is missing of it, also after a crash half-way. A tap lives as long as some process has it open.
package network
