package operations

import "time"

// Deadlines that are not those of a worker's steps (package worker). Below operations nothing has one of its own: it waits
// until its context ends.
const (
	// stopCallTimeout is for asking a guest to stop, which it answers at once.
	stopCallTimeout = 10 * time.Second
	// powerOffTimeout lets the guest sync its disks before its power is cut.
	powerOffTimeout = 20 * time.Second
	// rollbackTimeout is for undoing, which outlives what cancelled the doing.
	rollbackTimeout = time.Minute
	observeTimeout  = 30 * time.Second
)

// Waits and periods.
const (
	// stopSlack is what a guest may take beyond the grace period to kill and reap.
	stopSlack = 5 * time.Second
	// lookAgain is how long a pod that ended by itself may wait for its logs before they are looked for again.
	lookAgain = time.Minute

	// volumeRefresh is how old the files of a volume may be, as in a kubelet (its sync period is a minute).
	volumeRefresh = time.Minute

	retryFirst = time.Second
	retryMax   = time.Minute

	collectEvery = 10 * time.Second
	// orphanGrace is how long a VM may be without a pod: an API server that comes back may list late.
	orphanGrace = 30 * time.Second
	// tombstoneLife is how long a late update of a pod whose object is gone is recognised as such.
	tombstoneLife = 10 * time.Minute
)
