package operations

import "time"

// Deadlines of single steps. Below this package nothing has one of its own: it waits until its context ends.
const (
	// createTimeout covers the copy of an image's disk to slow storage.
	createTimeout = 10 * time.Minute
	// bootTimeout is ample for an emulated processor: it boots in 5 s, and in 60 s beside a dozen others.
	bootTimeout = 3 * time.Minute
	// configureTimeout covers the formatting of the scratch disk.
	configureTimeout = time.Minute
	// containersTimeout covers the delivery of all volumes and the hot-adding of disks.
	containersTimeout = 5 * time.Minute
	// stopCallTimeout is for asking a guest to stop, which it answers at once.
	stopCallTimeout = 10 * time.Second
	// powerOffTimeout lets the guest sync its disks before its power is cut.
	powerOffTimeout = 20 * time.Second
	removeTimeout   = 2 * time.Minute
	// rollbackTimeout is for undoing, which outlives what cancelled the doing.
	rollbackTimeout = time.Minute
	ackTimeout      = 5 * time.Second
	observeTimeout  = 30 * time.Second
)

// Waits and periods.
const (
	// stopSlack is what a guest may take beyond the grace period to kill and reap.
	stopSlack = 5 * time.Second
	// logsWithin is how long the end of a log may take when its pod is being deleted; a pod that ended by itself waits for
	// its logs as long as it takes.
	logsWithin = 10 * time.Second
	// forcedGrace is the grace period of a pod whose object vanished without one.
	forcedGrace = 2 * time.Second
	// defaultGrace is Kubernetes' default, for a pod of which only the VM is known.
	defaultGrace = 30 * time.Second

	// volumeRefresh is how old the files of a volume may be, as in a kubelet (its sync period is a minute).
	volumeRefresh = time.Minute
	// lookAgain is when a worker looks even if nothing woke it: watches may miss a change.
	lookAgain = time.Minute

	// snapshotWithin is how soon a guest that was configured says so in a snapshot.
	snapshotWithin = 5 * time.Second

	retryFirst = time.Second
	retryMax   = time.Minute
	// restartFirst, restartMax and restartReset are the kubelet's for containers, and here for whole VMs.
	restartFirst = 10 * time.Second
	restartMax   = 5 * time.Minute
	restartReset = 10 * time.Minute

	collectEvery = 10 * time.Second
	// orphanGrace is how long a VM may be without a pod: an API server that comes back may list late.
	orphanGrace = 30 * time.Second
	// tombstoneLife is how long a late update of a pod whose object is gone is recognised as such.
	tombstoneLife = 10 * time.Minute
)
