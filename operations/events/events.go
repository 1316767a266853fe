package events

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

// maxBytes is what an event's message may have (events.k8s.io/v1, note).
const maxBytes = 1024

// Notice is an event without its object.
type Notice struct {
	// Type is corev1.EventTypeNormal or corev1.EventTypeWarning.
	Type string
	// Reason is one CamelCase word, Message a sentence for users.
	Reason, Message string
}

// Normal returns a Notice of what went as it should.
func Normal(reason, format string, args ...any) Notice {
	return Notice{corev1.EventTypeNormal, reason, fmt.Sprintf(format, args...)}
}

// Warning returns a Notice of what went wrong.
func Warning(reason, format string, args ...any) Notice {
	return Notice{corev1.EventTypeWarning, reason, fmt.Sprintf(format, args...)}
}

// OfGuest returns the Notice of an event that a guest reports.
func OfGuest(ev wire.Event) Notice {
	n := Notice{corev1.EventTypeNormal, ev.Reason, ev.Message}
	if ev.Warning {
		n.Type = corev1.EventTypeWarning
	}
	return n
}

// Writer puts notices beside objects. It is as safe for concurrent use as its recorder.
type Writer struct{ recorder record.EventRecorder }

// To returns a Writer to that recorder.
func To(recorder record.EventRecorder) Writer { return Writer{recorder} }

// Pod puts n beside the pod.
func (w Writer) Pod(pod *corev1.Pod, n Notice) { w.Container(pod, "", n) }

// Container puts n beside a container of the pod; "" is the pod.
func (w Writer) Container(pod *corev1.Pod, container string, n Notice) {
	w.record(&corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod",
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		FieldPath: fieldPath(pod, container),
	}, n)
}

// Node puts n beside the node, which has its name for a UID, as the kubelet writes it.
func (w Writer) Node(name string, n Notice) {
	w.record(&corev1.ObjectReference{Kind: "Node", Name: name, UID: types.UID(name)}, n)
}

func (w Writer) record(ref *corev1.ObjectReference, n Notice) {
	message := n.Message
	if len(message) > maxBytes {
		message = strings.ToValidUTF8(message[:maxBytes-len("…")], "") + "…"
	}
	w.recorder.Event(ref, n.Type, n.Reason, message)
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
