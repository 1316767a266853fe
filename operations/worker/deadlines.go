package worker

import "time"

// Deadlines of single steps.
const (
	// createTimeout covers the copy of an image's disk to slow storage.
	createTimeout = 10 * time.Minute
	// volumesTimeout covers the search for a disk on many datastores, and a host that is slow to attach it.
	volumesTimeout = 3 * time.Minute
	// bootTimeout is ample for an emulated processor: it boots in 5 s, and in 60 s beside a dozen others.
	bootTimeout = 3 * time.Minute
	// configureTimeout covers the formatting of the scratch disk.
	configureTimeout = time.Minute
	// containersTimeout covers the delivery of all volumes and the hot-adding of disks.
	containersTimeout = 5 * time.Minute
	// stopTimeout covers a guest that is asked in vain, and then the power-off.
	stopTimeout   = 35 * time.Second
	removeTimeout = 2 * time.Minute

	ackTimeout     = 5 * time.Second
	observeTimeout = 30 * time.Second
)

// Waits and periods.
const (
	// logsWithin is how long the end of a log may take when its pod is being deleted; a pod that ended by itself waits for
	// its logs as long as it takes.
	logsWithin = 10 * time.Second
	// forcedGrace is the grace period of a pod whose object vanished without one.
	forcedGrace = 2 * time.Second
	// defaultGrace is Kubernetes' default, for a pod of which only the VM is known.
	defaultGrace = 30 * time.Second

	// snapshotWithin is how soon a guest that was configured says so in a snapshot.
	snapshotWithin = 5 * time.Second

	// restartFirst, restartMax and restartReset are the kubelet's for containers, and here for whole VMs.
	restartFirst = 10 * time.Second
	restartMax   = 5 * time.Minute
	restartReset = 10 * time.Minute
)
