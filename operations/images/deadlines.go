package images

import "time"

// Waits and periods.
const (
	// pullFirst and pullMax are the kubelet's (kubelet.go, imageBackOff).
	pullFirst = 10 * time.Second
	pullMax   = 5 * time.Minute
	// pullErrorShown is how long ErrImagePull is shown before it becomes ImagePullBackOff, as at a kubelet's next sync.
	pullErrorShown = 3 * time.Second
	// progressFirst is when a pull that still runs has its first event; the interval doubles up to progressMax.
	progressFirst = 30 * time.Second
	progressMax   = 5 * time.Minute
	// importedTry is how long a registry may take to answer before an image that was imported is used instead.
	importedTry = 5 * time.Second
)

// parallelPulls bounds the images that are brought here at one time.
const parallelPulls = 3
