// Package qemu runs pod VMs as QEMU processes of this host: a portlayer.Hypervisor over one directory, the virtual
// container host (VCH). Nothing else speaks QMP.
//
//	h, err := qemu.Open(ctx, qemu.Config{Dir: dir, GuestImage: image, Network: pods})
//	defer h.Close() // the VMs run on
//
// # On disk
//
//	vms/<pod UID>/vm.json            identity, spec, version, and what is known of its power
//	              lock               held by the process that has the VM
//	              alive              held by its QEMU, which inherits it: a lock that can't be had means that QEMU lives
//	              qmp.sock           QEMU's control, one client at a time
//	              guest.sock         the guest's port, one client at a time
//	              scratch-<serial>.img
//	              console.log, .1    at most 1 MiB in all
//	disks/<digest>.ext4              images, shared by VMs, read-only
//	boot/                            the guest image in use
//	accel.json                       what the last probe of the accelerator found
//
// The package writes a file under another name, and renames it when it is whole. Open deletes what a crash left of such files.
//
// # Life
//
// A QEMU has a session of its own and outlives us. It is found again by its socket, whose listener is its process, and
// must answer query-uuid with the UUID that the pod's UID gives; it is watched by pidfd. No process is ever signalled by
// a number from a file. A QEMU that lives and does not answer is known by the alive file that it holds open: callers can end it,
// and it serves the VM again when it answers. Only callers that change that VM wait for it. When a guest powers off, resets or
// panics, its QEMU stays paused (-no-reboot, -no-shutdown), with the guest's last words in a ring, until somebody has read them.
//
// # Confinement
//
// QEMU gets what it needs as open files: disks, taps, sockets, kernel. It knows no path of ours, may start nothing
// (-sandbox), leaves no core file, and has control groups of its own where the host lets us. When we are root it runs
// as a user and group of its own from 2,000,000,000 to 2,099,999,999, without privileges and supplementary groups, but
// for the group of the KVM device where only that may open it. It then has network, mounts, IPC and UTS of its own: when it has
// answered, nothing is left in its mounts, and its root is empty. Only a VM in user mode networking keeps our network and files,
// since QEMU itself is its way out, and so does every VM of an ordinary user. Its memory is bounded to the VM's and 128 MiB more, with
// TCG 256 MiB.
package qemu
