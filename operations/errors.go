package operations

import (
	"errors"
	"fmt"
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

// OutOfMemoryError says that a pod was not admitted. It is portlayer.ErrOutOfMemory.
type OutOfMemoryError struct{ Requested, Used, Capacity int64 }

// Error says it as a kubelet does.
func (e *OutOfMemoryError) Error() string {
	return fmt.Sprintf("Node didn't have enough resource: memory, requested: %d, used: %d, capacity: %d", e.Requested, e.Used, e.Capacity)
}

// Is makes errors.Is(err, portlayer.ErrOutOfMemory) true.
func (*OutOfMemoryError) Is(target error) bool { return target == portlayer.ErrOutOfMemory }

// ImageError says why an image is not here. Reason is one of the kubelet's.
type ImageError struct {
	Reason string
	Err    error
}

// Error is the cause.
func (e *ImageError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *ImageError) Unwrap() error { return e.Err }

// Reasons of waiting containers that come from this package. They are the kubelet's.
const (
	reasonContainerCreating     = "ContainerCreating"
	reasonCreatePodSandboxError = "CreatePodSandboxError"
	reasonCreateContainerError  = "CreateContainerError"
	reasonCrashLoopBackOff      = "CrashLoopBackOff"
	reasonErrImagePull          = "ErrImagePull"
	reasonImagePullBackOff      = "ImagePullBackOff"
	reasonErrImageNeverPull     = "ErrImageNeverPull"
	reasonInvalidImageName      = "InvalidImageName"
	reasonImageInspectError     = "ImageInspectError"
)

// waitingFor returns how a container shows that err holds it up, otherwise being reason.
func waitingFor(reason string, err error) status.Waiting {
	if config, ok := errors.AsType[*environment.ConfigError](err); ok {
		return status.Waiting{Reason: config.Reason, Message: config.Message}
	}
	return status.Waiting{Reason: reason, Message: err.Error()}
}
