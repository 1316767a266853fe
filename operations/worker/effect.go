package worker

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/operations/events"
)

// effect is something to do at once, beside the steps. What looks and decides returns effects; perform does them.
type effect any

// Effects.
type (
	// emit puts a notice beside the pod, or beside one of its containers.
	emit struct {
		container string
		events.Notice
	}
	// reportSilence emits that the guest has been unreachable since then, with the end of its console.
	reportSilence struct{ since time.Time }
	// acknowledge lets the guest forget its events up to one.
	acknowledge struct {
		bootID string
		last   uint64
	}
	// keep has the host keep a record beside the VM.
	keep struct{ record }
	// tryNow ends the back-off of a step or of a part of one.
	tryNow struct{ name string }
	// wantImage begins to bring the image of a container here.
	wantImage struct{ container *corev1.Container }
	// dropImage forgets the image of a container, here or on its way.
	dropImage struct{ container string }
	// dropLateImages forgets the images that are still on their way.
	dropLateImages struct{}
	// finish says that nothing of the pod runs, or will, while its object is there.
	finish struct{}
)
