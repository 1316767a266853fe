package operations

import (
	"errors"
	"strings"

	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/fields"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/portlayer"
)

// UnsupportedError says that a pod uses fields that can't be honoured. It is not started.
type UnsupportedError struct{ Refusals []fields.Refusal }

// Error names all fields with the reasons.
func (e *UnsupportedError) Error() string {
	all := make([]string, len(e.Refusals))
	for i, r := range e.Refusals {
		all[i] = r.String()
	}
	return strings.Join(all, "; ")
}

// RejectionError says that a pod was not admitted: the node has not what it needs, or is not for it.
type RejectionError struct {
	// Reason is one of the kubelet's, such as OutOfcpu; Message is its sentence.
	Reason, Message string
}

// Error says it as a kubelet does.
func (e *RejectionError) Error() string { return e.Message }

// Is makes errors.Is(err, portlayer.ErrOutOfMemory) true where memory is what lacks.
func (e *RejectionError) Is(target error) bool {
	return target == portlayer.ErrOutOfMemory && e.Reason == reasonOutOfMemory
}

// Reasons of waiting containers that come from this package. They are the kubelet's.
const (
	reasonContainerCreating     = "ContainerCreating"
	reasonCreatePodSandboxError = "CreatePodSandboxError"
	reasonCreateContainerError  = "CreateContainerError"
	reasonCrashLoopBackOff      = "CrashLoopBackOff"
)

// waitingFor returns how a container shows that err holds it up, otherwise being reason.
func waitingFor(reason string, err error) status.Waiting {
	if config, ok := errors.AsType[*environment.ConfigError](err); ok {
		return status.Waiting{Reason: config.Reason, Message: config.Message}
	}
	return status.Waiting{Reason: reason, Message: err.Error()}
}
