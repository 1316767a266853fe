package plan

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// StopReasonNodeShutdown is the wire.Stop.Reason of pods that end because their node does. It is no end for them: they
// run again when the node is back, unless their restart policy is Never.
const StopReasonNodeShutdown = "NodeShutdown"

// ContainerIDPrefix stands before a container's ID in a pod's status.
const ContainerIDPrefix = "vic://"

// ReasonContainerStatusUnknown is the kubelet's reason for a container that is gone and left no exit code.
const ReasonContainerStatusUnknown = "ContainerStatusUnknown"

// Seeds says what each container of pod carries into the next boot of its VM. former is the last snapshot of the boot
// before, nil where there is none; status is the pod's last known status, from which the end of a vanished container is
// taken, so that both tell the same.
//
// A container that ran when its VM vanished has ended with exit code 137. One that will not run again is Final.
func Seeds(pod *corev1.Pod, former *wire.Snapshot, status corev1.PodStatus) []wire.Seed { return nil }

// ShouldRestart tells whether a container that ended like term is started again.
func ShouldRestart(policy corev1.RestartPolicy, term *wire.Terminated) bool { return false }

// Vanished is the end of a container that ran when its VM did not any more: exit code 137 at that time.
func Vanished(c wire.ContainerStatus, at time.Time, why string) *wire.Terminated { return nil }
