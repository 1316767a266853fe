package portlayer

import "time"

// Capacity is what a VCH offers to pods in all, overheads of VMs not subtracted.
type Capacity struct {
	CPUMilli     int64
	MemoryBytes  int64
	StorageBytes int64
	Pods         int64
	// FreeMemoryBytes and FreeStorageBytes are what is left now, pod VMs and everything else counted.
	FreeMemoryBytes  int64
	FreeStorageBytes int64
	// UsedMemoryBytes is what pod VMs hold now, UsedCPU the processor time that they have used since some moment; it
	// never goes back while the hypervisor is open.
	UsedMemoryBytes int64
	UsedCPU         time.Duration
	Conditions      []Condition
	// Unreadable are the names, for people, of VMs that are there and can't be read: nobody knows whose they are.
	Unreadable []string
}

// ConditionVMsUnreadable is a Condition that is true while there are VMs that can't be read, or that are out of sight. Its
// message names them and says why.
const ConditionVMsUnreadable = "PodVMsUnreadable"

// Condition is something that a VCH says about its health.
type Condition struct {
	// Type is Ready, MemoryPressure, DiskPressure, PIDPressure, NetworkUnavailable, or one of the hypervisor's own that is True
	// while something is wrong. Ready is False, with what is broken as its Message, while no pod VM can be made or started.
	Type    string
	True    bool
	Reason  string
	Message string
}
