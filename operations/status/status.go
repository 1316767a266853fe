package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/portlayer"
)

// Waiting is why a container does not run yet.
type Waiting struct{ Reason, Message string }

// ImageRef is an image as a container's status shows it.
type ImageRef struct {
	Name string // as in the spec, made complete
	ID   string // repository@digest, or the digest alone
}

// Inputs are all that a status is made from.
type Inputs struct {
	Pod *corev1.Pod
	// VM is nil while there is none, and after it was forgotten.
	VM *portlayer.PodVM
	// Waiting says by container why it was not given to the guest yet.
	Waiting map[string]Waiting
	Images  map[string]ImageRef
	HostIP  string
	Now     time.Time
	// Previous is the status that was reported last; pod.Status is used where it is empty.
	Previous corev1.PodStatus
	// PodReason fails the pod for good, such as OutOfmemory; PodMessage says more.
	PodReason, PodMessage string
	// Terminating says that the pod is being deleted: nothing in it will be started again.
	Terminating bool
}

// Build returns the status of in.Pod.
func Build(in Inputs) corev1.PodStatus { return corev1.PodStatus{} }
