package volumes

import "fmt"

// ReasonFailedMount is the kubelet's event reason for a volume that can't be filled.
const ReasonFailedMount = "FailedMount"

// A MountError says why a volume can't be filled as the cluster is now; another try may succeed.
type MountError struct {
	Reason  string // ReasonFailedMount
	Message string
	cause   error
}

// Error is the message.
func (e *MountError) Error() string { return e.Message }

// Unwrap returns the cause.
func (e *MountError) Unwrap() error { return e.cause }

func mountError(volume string, cause error) *MountError {
	return &MountError{
		Reason:  ReasonFailedMount,
		Message: fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", volume, cause),
		cause:   cause,
	}
}
