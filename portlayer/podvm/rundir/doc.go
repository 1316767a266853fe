// Package rundir keeps, for every pod VM, what happened in it: the record of the VM, the guest's latest snapshot and the
// containers' logs. It is what remains when vic is restarted or a VM is gone; there is no other database.
//
//	<root>/<uid>/vm.json                               the VM as last seen, whatever the caller makes of it
//	<root>/<uid>/snapshot.json                         the guest's latest snapshot
//	<root>/<uid>/acked.json                            which of a boot's events were passed on, so that none is twice
//	<root>/<uid>/note.json                             what the caller must not forget over a restart; JSON of its own
//	<root>/<uid>/logs/<container>/<attempt>-<start>.log  a segment of an attempt's log, as the guest wrote it (CRI lines)
//
// A segment's name says at which offset of the guest's log it begins, so its length says how far the copy has come: no
// second file can disagree with it after a crash, and a torn line is continued where it was torn. A segment that is full
// is followed by another. The store keeps the latest few segments of an attempt and the latest two attempts of a container, so
// a container that floods its log takes a bounded part of the disk. Where the guest had to drop a part of its log, the next
// segment begins behind it, and readers see a line that says so.
//
// Everything in the logs came from a guest and is not trusted. The package knows no hypervisor and no Kubernetes.
package rundir
