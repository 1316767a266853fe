// Package bootblob finds what a hypervisor gave a VM for its start (wire.Boot): by VMware's backdoor, else QEMU's fw_cfg,
// else on a CD.
package bootblob
