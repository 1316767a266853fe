package provider

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// Events writes what happens to the API server, where users see it beside the pod.
type Events struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
}

// NewEvents returns Events of that node. Close ends it.
func NewEvents(client kubernetes.Interface, nodeName string) *Events {
	b := record.NewBroadcaster()
	b.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: client.CoreV1().Events(corev1.NamespaceAll)})
	source := corev1.EventSource{Component: "vic", Host: nodeName}
	return &Events{broadcaster: b, recorder: b.NewRecorder(scheme.Scheme, source)}
}

// Recorder returns the recorder for operations.
func (e *Events) Recorder() record.EventRecorder { return e.recorder }

// Close writes nothing more.
func (e *Events) Close() { e.broadcaster.Shutdown() }

// quietRecorder leaves out Virtual Kubelet's own successes: they say that a call to us returned, not that anything
// happened to the pod, and there would be two for each.
type quietRecorder struct{ record.EventRecorder }

// Event records an event.
func (q quietRecorder) Event(object runtime.Object, eventType, reason, message string) {
	if !ownSuccess(reason) {
		q.EventRecorder.Event(object, eventType, reason, message)
	}
}

// Eventf records an event with a format.
func (q quietRecorder) Eventf(object runtime.Object, eventType, reason, format string, args ...any) {
	if !ownSuccess(reason) {
		q.EventRecorder.Eventf(object, eventType, reason, format, args...)
	}
}

func ownSuccess(reason string) bool {
	return strings.HasPrefix(reason, "Provider") && strings.HasSuffix(reason, "Success")
}
