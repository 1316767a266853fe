// Package network is the network that the pod VMs of one VCH join on this machine.
package network
