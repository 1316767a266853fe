package images

// Reasons of events, the kubelet's where it has one.
const (
	eventFailed        = "Failed"
	eventBackOff       = "BackOff"
	eventPulling       = "Pulling"
	eventPulled        = "Pulled"
	eventInspectFailed = "InspectFailed"
	eventNeverPull     = "ErrImageNeverPull"
	eventPullProgress  = "PullProgress" // ours: a pull that takes long goes on
	// eventPullSecretFailed is about an imagePullSecret that could not be read.
	eventPullSecretFailed    = "FailedToRetrieveImagePullSecret"
	eventFreeDiskSpaceFailed = "FreeDiskSpaceFailed"
	eventGCFailed            = "ImageGCFailed"
	eventInvalidDiskCapacity = "InvalidDiskCapacity"
)

// Reasons of containers that wait for their image. They are the kubelet's.
const (
	reasonErrImagePull      = "ErrImagePull"
	reasonImagePullBackOff  = "ImagePullBackOff"
	reasonErrImageNeverPull = "ErrImageNeverPull"
	reasonInvalidImageName  = "InvalidImageName"
	reasonImageInspectError = "ImageInspectError"
)
