package wire

import "time"

// MaxStatsBytes bounds the answer to GET PathStats.
const MaxStatsBytes = 256 << 10

// Stats is what a pod uses at one moment. Counters begin with the boot or, for a container, with its attempt.
type Stats struct {
	Time time.Time `json:"time"`
	// Pod is what all containers use together.
	Pod Usage `json:"pod"`
	// Containers are those that run.
	Containers []ContainerStats `json:"containers,omitempty"`
	// Interfaces are the pod's network interfaces, without loopback.
	Interfaces []InterfaceStats `json:"interfaces,omitempty"`
	// Scratch is the disk of container layers, emptyDir volumes and logs.
	Scratch FilesystemStats `json:"scratch"`
}

// ContainerStats is what one container uses.
type ContainerStats struct {
	Name  string `json:"name"`
	Usage Usage  `json:"usage"`
}

// Usage is read from a cgroup of version 2.
type Usage struct {
	// CPU is processor time.
	CPU time.Duration `json:"cpu"`
	// MemoryBytes counts the page cache in; WorkingSetBytes leaves out those of its pages that can be dropped at once.
	MemoryBytes     uint64 `json:"memoryBytes"`
	WorkingSetBytes uint64 `json:"workingSetBytes"`
	RSSBytes        uint64 `json:"rssBytes"`
	PageFaults      uint64 `json:"pageFaults"`
	MajorPageFaults uint64 `json:"majorPageFaults"`
	Processes       uint64 `json:"processes"`
}

// InterfaceStats are the counters of one network interface.
type InterfaceStats struct {
	Name     string `json:"name"`
	RxBytes  uint64 `json:"rxBytes"`
	TxBytes  uint64 `json:"txBytes"`
	RxErrors uint64 `json:"rxErrors,omitempty"`
	TxErrors uint64 `json:"txErrors,omitempty"`
}

// FilesystemStats is how full a file system is.
type FilesystemStats struct {
	CapacityBytes  uint64 `json:"capacityBytes"`
	AvailableBytes uint64 `json:"availableBytes"`
	UsedBytes      uint64 `json:"usedBytes"`
	Inodes         uint64 `json:"inodes"`
	InodesFree     uint64 `json:"inodesFree"`
}
