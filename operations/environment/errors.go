package environment

// Reasons for which a container waits.
const (
	// ReasonCreateContainerConfigError says that something the container refers to is missing or contradicts itself.
	ReasonCreateContainerConfigError = "CreateContainerConfigError"
	// ReasonCreateContainerError says that the container itself cannot be made, such as one without a command.
	ReasonCreateContainerError = "CreateContainerError"
)

// A ConfigError says why a container can't be run as its pod is now. It is shown as the reason and message of the
// waiting container; another try may succeed once the objects that it names are there.
type ConfigError struct {
	Reason  string
	Message string
}

// Error is the message.
func (e *ConfigError) Error() string { return e.Message }
