package wire

import (
	"net/netip"
	"time"
)

// Phase is how far the guest is.
type Phase string

// The guest's phases, in order.
const (
	PhaseWaiting    Phase = "waiting"    // no Pod was applied in this boot
	PhaseConfigured Phase = "configured" // network, disks and volumes are there; containers run as they come
	PhaseStopping   Phase = "stopping"   // Stop was received
	PhaseDone       Phase = "done"       // every container is final: nothing will run again in this boot
)

// Snapshot is the whole state of a guest. The newer one of two with the same BootID has the higher Generation.
type Snapshot struct {
	BootID     string            `json:"bootID"`
	Generation uint64            `json:"generation"`
	Time       time.Time         `json:"time"`
	Phase      Phase             `json:"phase"`
	StopReason string            `json:"stopReason,omitempty"`
	Addresses  []netip.Addr      `json:"addresses,omitempty"`
	Containers []ContainerStatus `json:"containers"`
	Events     []Event           `json:"events,omitempty"` // not yet acknowledged, oldest first
	// EventsDropped counts events that the ring lost before they were acknowledged.
	EventsDropped uint64 `json:"eventsDropped,omitempty"`
}

// ContainerState is where a container is.
type ContainerState string

// The container states, as Kubernetes has them.
const (
	ContainerWaiting    ContainerState = "waiting"
	ContainerRunning    ContainerState = "running"
	ContainerTerminated ContainerState = "terminated"
)

// Reasons of containers, as the kubelet has them.
const (
	ReasonContainerCreating = "ContainerCreating" // waiting: not yet asked to run
	ReasonPodInitializing   = "PodInitializing"   // the same in a pod that has init containers
	ReasonCrashLoopBackOff  = "CrashLoopBackOff"  // waiting for the next restart
	ReasonRunContainerError = "RunContainerError" // waiting: the runtime could not start it (such as a command that does not exist)
	ReasonCompleted         = "Completed"         // terminated with exit code 0
	ReasonError             = "Error"             // terminated with another exit code
	ReasonOOMKilled         = "OOMKilled"         // terminated, and the kernel had ended a process in its cgroup for lack of memory
	ReasonStartError        = "StartError"        // terminated before its process ran (exit code 128)
)

// ContainerStatus is the state of one container.
type ContainerStatus struct {
	Name  string         `json:"name"`
	State ContainerState `json:"state"`
	// Known is true when a Container of this name was received in this boot.
	Known bool `json:"known"`
	// Revision is that of the Container that was received last.
	Revision string `json:"revision,omitempty"`
	// Started is true when it runs and its startup probe, if there is one, has succeeded; Ready when its readiness probe
	// has as well.
	Started bool `json:"started,omitempty"`
	Ready   bool `json:"ready,omitempty"`
	// Reason and Message belong to ContainerWaiting.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// ID is 64 hex digits, another for each attempt; set while running.
	ID        string    `json:"id,omitempty"`
	StartedAt time.Time `json:"startedAt,omitzero"`
	// Current is set when State is ContainerTerminated.
	Current *Terminated `json:"current,omitempty"`
	// Last is how the attempt before the current one ended.
	Last *Terminated `json:"last,omitempty"`
	// RestartCount is the number of the current attempt, and names its log.
	RestartCount int32 `json:"restartCount"`
	// Final is true when the container will not be started again in this boot.
	Final bool `json:"final,omitempty"`
	// Backoff is the delay that the next restart waits (Seed.Backoff of another boot); NextStart is when it is due.
	Backoff   time.Duration `json:"backoff,omitempty"`
	NextStart time.Time     `json:"nextStart,omitzero"`
	// LogBytes is the length of the current attempt's log so far.
	LogBytes int64 `json:"logBytes"`
}

// Terminated is how an attempt ended.
type Terminated struct {
	ID         string    `json:"id"`
	ExitCode   int32     `json:"exitCode"`
	Signal     int32     `json:"signal,omitempty"`
	Reason     string    `json:"reason"`
	Message    string    `json:"message,omitempty"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	// Attempt is the restart count of the attempt, LogBytes the final length of its log.
	Attempt  int32 `json:"attempt"`
	LogBytes int64 `json:"logBytes"`
}

// Event is something that happened in the guest and that a user wants to see beside the pod.
type Event struct {
	Seq       uint64    `json:"seq"` // counts from 1 in each boot
	Time      time.Time `json:"time"`
	Container string    `json:"container,omitempty"`
	Warning   bool      `json:"warning,omitempty"`
	// Reason is one of the kubelet's event reasons: Created, Started, Killing, BackOff, Failed, …
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// Container returns the status of the container of that name, and false where there is none.
func (s *Snapshot) Container(name string) (ContainerStatus, bool) {
	for _, c := range s.Containers {
		if c.Name == name {
			return c, true
		}
	}
	return ContainerStatus{}, false
}
