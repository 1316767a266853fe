// Package qemu runs pod VMs as QEMU processes of this machine: a portlayer.Hypervisor over one directory.
package qemu
