package worker

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/persona"
)

// Names of steps.
const (
	stepCreate     = "create"
	stepVolumes    = "volumes"
	stepPowerOn    = "powerOn"
	stepGreet      = "greet" // waits for the guest of a VM that runs already, such as one that this program finds at its start
	stepConfigure  = "configure"
	stepContainers = "containers"
	stepStop       = "stop"
	stepRelease    = "release"
	stepRemove     = "remove"
	stepForget     = "forget"
)

// Parts of the step containers that are retried each on its own.
const (
	partFiles = "files"
	partRun   = "run/" // followed by the container's name
)

// step is one thing to do, as data. Its zero value is nothing.
type step struct {
	name string
	// images are those that a VM gets when it is powered on.
	images []persona.Image
	// boot is what a guest is configured with.
	boot Boot
	// stop is how a pod ends.
	stop StopRequest
	// runs are the containers to run, and deliver says whether to deliver the volumes first.
	runs    []ContainerRun
	deliver bool
}

// Boot is what one boot of a pod's VM begins with.
type Boot struct {
	Seeds []wire.Seed
	// StartTime is that of the pod's status.
	StartTime *metav1.Time
	// Disks are those of the pod's claims, by the names of the volumes.
	Disks map[string]plan.Disk
}

// ContainerRun is a container with its image.
type ContainerRun struct {
	plan.Member
	Image persona.Image
}

// decision is what to do about a view.
type decision struct {
	step step
	// wait is when to look again though nothing happens; 0 leaves it to others.
	wait time.Duration
	// over is true when nothing is left to do, ever.
	over    bool
	effects []effect
	// seeds stay until a guest has taken them.
	seeds []wire.Seed
}
