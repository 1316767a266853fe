// Package vcenter is a simulated vCenter for tests and for trying things out whose VMs really run: govmomi's simulator answers the
// API, and each VM that it powers on is a QEMU that boots from the ISO in the VM's CD drive.
//
//	vc, err := vcenter.Start(ctx, vcenter.Config{Dir: dir, Accel: qemu.AccelTCG, BootISO: "bin/guest/boot.iso"})
//	defer vc.Close()
//	session, err := vsphere.Connect(ctx, vc.Target())
//	h, err := vsphere.Open(ctx, vsphere.Config{Name: "vch", Session: session, BootISO: vcenter.BootISO,
//		Networks: map[string]string{"bridge": vcenter.PortGroup}})
//
// A VM has what its configuration says: processors, memory, pvscsi controllers with each disk at its unit number, vmxnet3
// interfaces with their MAC addresses, CDs on IDE. It boots in BIOS whatever its firmware is, which is seconds faster when
// instructions are translated. What extraConfig has under guestinfo.vic.NAME, the guest reads as opt/vic/NAME of QEMU's
// firmware configuration, as it was at power-on; VMware's own interface to guestinfo is not there.
//
// The simulator keeps a descriptor and an empty file for each disk. Here that file, NAME-flat.vmdk, is the disk: as it was
// uploaded (a stream-optimized VMDK) for an imported one, qcow2 over its parent's for a child, and qcow2 for all others. It
// moves and goes with the descriptor.
//
// The inventory is one cluster of one host, which has this host's processors and memory, and one datastore, which has the
// space of Config.Dir.
//
// A VM whose QEMU ends, by the guest or by hand, is powered off. Its disks come and go while it runs; nothing else of its
// hardware does. What a guest needs VMware Tools for (ShutdownGuest, its address) is refused or empty, and a VM can't be
// suspended. Power is only that of PowerOnVM_Task, PowerOffVM_Task and ResetVM_Task: other calls that change it (vApps,
// PowerOnMultiVM_Task) change the reported state and start nothing. The inventory is lost with the process; QEMUs end with it.
//
// It serves on the loopback interface, with a certificate whose key everybody has: no secret is safe in it. Its password is another one
// each time, in the file that Target names: another text in there is a wrong password. WithheldFile names privileges that nobody has.
package vcenter
