// Package vsphere is a portlayer.Hypervisor over a VCH in vCenter or on a standalone ESXi host: a resource pool, a VM
// folder, a directory of a datastore, and port groups.
//
// A pod VM is one vSphere VM in the folder. Its instance UUID is made from the VCH and the pod's UID. Its extraConfig holds its
// portlayer.Spec with a version, and what we last did with its power, outside guestinfo, where its guest can't change them.
// Names are for people and identify nothing.
//
// The package imports an image's disk once into the directory, by an NFC lease, and never attaches that disk itself: each VM has a
// child of it, because destroying a VM deletes the files of all its disks.
//
// One view of the folder and one property collector show what exists; an operation's own result is known at once.
// Tasks are awaited by one list view for all. A VM that the folder does not show is gone only where vCenter knows neither its object nor
// its instance UUID; until then it is what it was. After Open nothing else is searched in the inventory.
//
// Package vch makes, checks and removes a VCH.
package vsphere
