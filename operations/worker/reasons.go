package worker

// Reasons of events, the kubelet's where it has one.
const (
	eventFailedCreate = "FailedCreatePodSandBox" // the pod VM could not be made, started or configured
	eventFailedMount  = "FailedMount"
	eventFailedAttach = "FailedAttachVolume"
	eventAttached     = "SuccessfulAttachVolume"
	eventFailedKill   = "FailedKillPod"
	eventFailed       = "Failed"
	eventVMEnded      = "PodVMEnded"       // ours: the VM stopped or vanished while the pod ran
	eventUnreachable  = "GuestUnreachable" // ours: the VM runs and its guest does not answer
)

// Reasons of waiting containers that come from this package. They are the kubelet's.
const (
	reasonContainerCreating     = "ContainerCreating"
	reasonCreatePodSandboxError = "CreatePodSandboxError"
	reasonCreateContainerError  = "CreateContainerError"
	reasonCrashLoopBackOff      = "CrashLoopBackOff"
)
