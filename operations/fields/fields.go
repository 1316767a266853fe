package fields

import (
	"reflect"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer/podvm"
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

// UnsupportedError says that a pod, or a container of it, uses fields that can't be honoured. It is not started.
type UnsupportedError struct{ Refusals []Refusal }

// Error names all fields with the reasons.
func (e *UnsupportedError) Error() string {
	all := make([]string, len(e.Refusals))
	for i, r := range e.Refusals {
		all[i] = r.String()
	}
	return strings.Join(all, "; ")
}

// Check returns all that pod uses and a host with those capabilities refuses, in the order of the API; none admits it.
// Ephemeral containers, which come to a pod that runs, do not count: see CheckEphemeral.
func Check(pod *corev1.Pod, caps podvm.Capabilities) []Refusal {
	spec := pod.Spec
	spec.EphemeralContainers = nil
	return check(spec, caps)
}

// CheckEphemeral returns, by name, the refusals of the ephemeral containers that use what such a host refuses.
func CheckEphemeral(pod *corev1.Pod, caps podvm.Capabilities) map[string][]Refusal {
	all := map[string][]Refusal{}
	for i := range pod.Spec.EphemeralContainers {
		// The others before it keep its index.
		spec := corev1.PodSpec{EphemeralContainers: make([]corev1.EphemeralContainer, i+1)}
		spec.EphemeralContainers[i] = pod.Spec.EphemeralContainers[i]
		if refusals := check(spec, caps); len(refusals) > 0 {
			all[pod.Spec.EphemeralContainers[i].Name] = refusals
		}
	}
	return all
}

func check(spec corev1.PodSpec, caps podvm.Capabilities) []Refusal {
	w := walker{rows: index(), caps: caps}
	w.parts(place{"spec", "spec"}, reflect.ValueOf(spec))
	return w.refusals
}
