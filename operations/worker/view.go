package worker

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
	"github.com/virtual-kubelet/vic/operations/status"
	"github.com/virtual-kubelet/vic/persona"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
	"github.com/virtual-kubelet/vic/steps"
)

// desired is what is wanted of a pod.
type desired struct {
	pod *corev1.Pod
	// known is true when pod has its spec; otherwise it is an identity, taken from a VM.
	known bool
	// gone is true when the API object is no more.
	gone bool
	// shutdown is true when the node ends, and the VM with it.
	shutdown bool
	// releases counts how often a VM of the node has given volumes back.
	releases int
	// revision counts the changes of all this.
	revision int
}

// ending is true when the pod is to go for good.
func (d desired) ending() bool { return d.gone || d.pod.DeletionTimestamp != nil }

// view is all that a decision is made from, beside the memory. look makes it.
type view struct {
	desired
	now time.Time
	// host is what the host can do.
	host podvm.Capabilities
	// vm is nil where the host knows none.
	vm *podvm.VM
	// status is what was reported of the pod last.
	status corev1.PodStatus
	// images are those that were asked for, by container.
	images map[string]image
	// failures are those since the last success, by step or by part of one.
	failures map[string]steps.Try
}

// image is one that a container is to start from.
type image struct {
	ref string
	// here is nil while the image is on its way; waiting says then what holds it up.
	here    *persona.Image
	waiting status.Waiting
}

// state is StateRemoved also where the host knows no VM.
func (v *view) state() portlayer.State {
	if v.vm == nil {
		return portlayer.StateRemoved
	}
	return v.vm.State
}

func (v *view) running() bool { return v.state() == portlayer.StateRunning }

// guest is the snapshot of the boot that runs; nil where it is not known.
func (v *view) guest() *wire.Snapshot {
	if !v.running() || !v.vm.Current {
		return nil
	}
	return v.vm.Guest
}

// silence is since when the guest of a running VM has been unreachable; zero where it is not.
func (v *view) silence() time.Time {
	if !v.running() || v.vm.SilentSince.IsZero() || v.now.Sub(v.vm.SilentSince) < status.SilentAfter {
		return time.Time{}
	}
	return v.vm.SilentSince
}

// hasDisk is true when the VM has the disk of that serial number.
func (v *view) hasDisk(serial string) bool {
	return v.vm != nil && slices.ContainsFunc(v.vm.Spec.Disks, func(d portlayer.Disk) bool { return d.Serial == serial })
}

// hasVolumes is true when the VM has disks that others may want.
func (v *view) hasVolumes() bool { return v.vm != nil && len(v.vm.Spec.Volumes()) > 0 }

// taken is true when the guest has the container as it is now, or when it will never run.
func (v *view) taken(m plan.Member) bool {
	g := v.guest()
	if g == nil {
		return false
	}
	c, ok := g.Container(m.Name)
	return ok && m.Taken(c)
}

// image returns the image of a container, nil while it is not here.
func (v *view) image(container string) *persona.Image { return v.images[container].here }

// imagesHere returns the images that are here, and whether those are all that the pod needs to begin.
func (v *view) imagesHere() (here []persona.Image, all bool) {
	all = true
	for _, m := range plan.Members(v.pod) {
		if m.Role == wire.RoleEphemeral {
			continue
		}
		if img := v.image(m.Name); img != nil {
			here = append(here, *img)
		} else {
			all = false
		}
	}
	return here, all
}

// backoff is how long what failed has to wait before it is tried again; 0 means no more.
func (v *view) backoff(name string) time.Duration { return v.until(v.failures[name].Until) }

// until is how long it is to t; 0 where that has passed.
func (v *view) until(t time.Time) time.Duration { return max(0, t.Sub(v.now)) }

// deadline is when the pod has been active for as long as it may; zero where it may be for ever.
func (v *view) deadline() time.Time { return plan.Deadline(v.pod, v.status.StartTime) }

// specGrace is how long the containers of the pod may take to end.
func (v *view) specGrace() time.Duration {
	if s := v.pod.Spec.TerminationGracePeriodSeconds; s != nil {
		return time.Duration(*s) * time.Second
	}
	return defaultGrace
}

// deletionGrace is specGrace, or what the deletion says instead.
func (v *view) deletionGrace() time.Duration {
	grace := v.specGrace()
	if s := v.pod.DeletionGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	if v.gone {
		grace = min(grace, forcedGrace)
	}
	return max(grace, time.Second)
}

// Mark changes with everything in a view that a step may bring about or wait for. It implements steps.View.
func (v *view) Mark() any {
	m := mark{revision: v.revision}
	for _, i := range v.images {
		if i.here != nil {
			m.images++
		}
	}
	if v.vm != nil {
		m.state, m.version, m.current, m.logs = v.vm.State, v.vm.Version, v.vm.Current, v.vm.LogsComplete
		if g := v.vm.Guest; g != nil {
			m.bootID, m.generation = g.BootID, g.Generation
		}
	}
	return m
}

type mark struct {
	state      portlayer.State
	version    uint64
	bootID     string
	generation uint64
	current    bool
	logs       bool
	revision   int
	images     int // that are here
}

// Turned is true when the VM is to stop for good. It implements steps.View.
func (v *view) Turned() bool { return v.ending() || v.shutdown }

// Lasts is when a silent guest becomes an unreachable one, or the pod's deadline passes. It implements steps.View.
func (v *view) Lasts() time.Duration {
	var lasts time.Duration
	if v.vm != nil && !v.vm.SilentSince.IsZero() {
		lasts = sooner(lasts, v.after(v.vm.SilentSince.Add(status.SilentAfter)))
	}
	if d := v.deadline(); !d.IsZero() {
		lasts = sooner(lasts, v.after(d))
	}
	return lasts
}

// after is how long it is to the first moment past t; 0 where that has passed.
func (v *view) after(t time.Time) time.Duration {
	if left := v.until(t); left > 0 {
		return left + time.Millisecond
	}
	return 0
}

// sooner is the shorter of two waits, where 0 means none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// final is true for a phase that a pod never leaves.
func final(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }

// EverRan is true when a container of the pod was started at some time.
func EverRan(s corev1.PodStatus) bool {
	for _, c := range slices.Concat(s.InitContainerStatuses, s.ContainerStatuses) {
		if c.RestartCount > 0 || c.ContainerID != "" || c.State.Running != nil || c.State.Terminated != nil {
			return true
		}
	}
	return false
}
