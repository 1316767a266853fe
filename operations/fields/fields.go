package fields

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer"
)

// Reason is the reason, as event and as waiting state, of a pod that uses refused fields.
const Reason = "UnsupportedField"

// A Refusal names a field that a pod uses and that it can't have here.
type Refusal struct {
	// Field is its full path, such as spec.containers[0].livenessProbe.
	Field string
	// Why is a sentence for the user.
	Why string
}

// String is both in one line.
func (r Refusal) String() string { return r.Field + ": " + r.Why }

// Check returns all that pod uses and a host with those capabilities refuses, in the order of the API; none admits it.
func Check(pod *corev1.Pod, caps portlayer.Capabilities) []Refusal {
	w := walker{rows: index(), caps: caps}
	w.parts(place{"spec", "spec"}, reflect.ValueOf(pod.Spec))
	return w.refusals
}
