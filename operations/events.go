package operations

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

// Reasons of events, the kubelet's where it has one.
const (
	eventFailedCreate  = "FailedCreatePodSandBox" // the pod VM could not be made, started or configured
	eventFailedMount   = "FailedMount"
	eventFailedAttach  = "FailedAttachVolume"
	eventAttached      = "SuccessfulAttachVolume"
	eventFailedKill    = "FailedKillPod"
	eventFailed        = "Failed"
	eventBackOff       = "BackOff"
	eventPulling       = "Pulling"
	eventPulled        = "Pulled"
	eventInspectFailed = "InspectFailed"
	eventNeverPull     = "ErrImageNeverPull"
	eventPullProgress  = "PullProgress" // ours: a pull that takes long goes on
	// eventPullSecretFailed tells of an imagePullSecret that could not be read.
	eventPullSecretFailed    = "FailedToRetrieveImagePullSecret"
	eventFreeDiskSpaceFailed = "FreeDiskSpaceFailed"
	eventImageGCFailed       = "ImageGCFailed"
	eventInvalidDiskCapacity = "InvalidDiskCapacity"
	eventVMEnded             = "PodVMEnded"       // ours: the VM stopped or vanished while the pod ran
	eventUnreachable         = "GuestUnreachable" // ours: the VM runs and its guest does not answer
)

// maxEventBytes is what an event's message may have (events.k8s.io/v1, note).
const maxEventBytes = 1024

// notice is an event without its object.
type notice struct{ kind, reason, message string }

func normal(reason, format string, args ...any) notice {
	return notice{corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...)}
}

func warning(reason, format string, args ...any) notice {
	return notice{corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...)}
}

// events tells users what happened to their pods.
type events struct{ recorder record.EventRecorder }

// ofPod puts n beside the pod.
func (e events) ofPod(pod *corev1.Pod, n notice) { e.ofContainer(pod, "", n) }

// ofContainer puts n beside a container of the pod.
func (e events) ofContainer(pod *corev1.Pod, container string, n notice) {
	ref := &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod",
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		FieldPath: fieldPath(pod, container),
	}
	e.record(ref, n)
}

func (e events) record(ref *corev1.ObjectReference, n notice) {
	message := n.message
	if len(message) > maxEventBytes {
		message = strings.ToValidUTF8(message[:maxEventBytes-len("…")], "") + "…"
	}
	e.recorder.Event(ref, n.kind, n.reason, message)
}

// ofGuest puts an event of the guest beside its container.
func (e events) ofGuest(pod *corev1.Pod, ev wire.Event) {
	n := notice{corev1.EventTypeNormal, ev.Reason, ev.Message}
	if ev.Warning {
		n.kind = corev1.EventTypeWarning
	}
	e.ofContainer(pod, ev.Container, n)
}

func fieldPath(pod *corev1.Pod, container string) string {
	if container == "" {
		return ""
	}
	for _, m := range plan.Members(pod) {
		switch {
		case m.Name != container:
		case m.Role == wire.RoleInit, m.Role == wire.RoleSidecar:
			return fmt.Sprintf("spec.initContainers{%s}", container)
		case m.Role == wire.RoleEphemeral:
			return fmt.Sprintf("spec.ephemeralContainers{%s}", container)
		}
	}
	return fmt.Sprintf("spec.containers{%s}", container)
}
