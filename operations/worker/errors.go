package worker

import (
	"errors"

	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/portlayer"
)

// ReasonOutOfMemory is the kubelet's, spelled as it spells it.
const ReasonOutOfMemory = "OutOfmemory"

// RejectionError says that a pod was not admitted: the node has not what it needs, or is not for it.
type RejectionError struct {
	// Reason is one of the kubelet's, such as OutOfcpu; Message is its sentence.
	Reason, Message string
}

// Error says it as a kubelet does.
func (e *RejectionError) Error() string { return e.Message }

// Is makes errors.Is(err, portlayer.ErrOutOfMemory) true where memory is what lacks.
func (e *RejectionError) Is(target error) bool {
	return target == portlayer.ErrOutOfMemory && e.Reason == ReasonOutOfMemory
}

// rejection is the reason and message of a pod that was not admitted, as a kubelet has them.
func rejection(err error) (reason, message string) {
	if rejected, ok := errors.AsType[*RejectionError](err); ok {
		return rejected.Reason, rejected.Message
	}
	return ReasonOutOfMemory, err.Error()
}

// waitingFor returns how a container shows that err holds it up, otherwise being reason.
func waitingFor(reason string, err error) status.Waiting {
	if config, ok := errors.AsType[*environment.ConfigError](err); ok {
		return status.Waiting{Reason: config.Reason, Message: config.Message}
	}
	return status.Waiting{Reason: reason, Message: err.Error()}
}
