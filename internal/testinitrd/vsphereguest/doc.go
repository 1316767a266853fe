// Command vsphereguest is PID 1 of VMs that have vSphere's hardware, in tests of what they boot and of what they see: it
// loads the initrd's modules and reports its disks, interfaces and CDs, and what QEMU's firmware configuration has for it.
//
// Without a blob in opt/vic/test it writes "REPORT" and a Report to the console, and powers off. A blob is a Boot: it dials
// the server that the blob names, and does what the server sends, a line each:
//
//	report              answers with a Report
//	write TARGET TEXT   writes to the beginning of the disk at that SCSI target, and answers
//	off, reset          powers off, resets
package main
