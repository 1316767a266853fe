package volumes

// ReasonFailedMount is the kubelet's event reason for a volume that can't be filled.
const ReasonFailedMount = "FailedMount"

// A MountError says why a volume can't be filled as the cluster is now.
type MountError struct {
	Reason  string // ReasonFailedMount
	Message string
}

// Error is the message.
func (e *MountError) Error() string { return e.Message }
