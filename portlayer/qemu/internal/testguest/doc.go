// Command testguest is PID 1 of the VMs in this hypervisor's tests, in the place of the guest program. It does what a
// line on its port says, which the guest program never would.
//
//	echo WORD         answers with it
//	disks N           answers with the serial numbers of its disks, once it has N
//	write SERIAL MIB  writes that many MiB to a disk and answers
//	shout MIB         writes that many MiB to the console, then a last line, and answers
//	ask CIDR GATEWAY HOST:PORT   gives eth0 the address and answers with what the server says
//	off, reboot       powers off, resets
//	crash SECONDS     panics after a while
package main
