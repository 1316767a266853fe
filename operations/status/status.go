package status

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/portlayer"
	"github.com/virtual-kubelet/vic/portlayer/podvm"
)

// SilentAfter is how long the guest of a running VM may be silent before its pod is not Ready any more, as long as the
// node controller waits for a silent node.
const SilentAfter = 40 * time.Second

// Reasons of pods that failed because their node was shut down or their time was over, the kubelet's.
const (
	ReasonTerminated        = "Terminated"
	messageTerminated       = "Pod was terminated in response to imminent node shutdown."
	ReasonDeadlineExceeded  = "DeadlineExceeded"
	messageDeadlineExceeded = "Pod was active on the node longer than the specified deadline"
)

// Waiting is why a container does not run yet.
type Waiting struct{ Reason, Message string }

// ImageRef is an image as a container's status shows it.
type ImageRef struct {
	Name string // as in the spec, made complete
	ID   string // repository@digest, or the digest alone
}

// Inputs are all that a status is made from.
type Inputs struct {
	Pod *corev1.Pod
	// VM is nil while there is none, and after it was forgotten.
	VM *podvm.VM
	// Waiting says by container why it was not given to the guest yet.
	Waiting map[string]Waiting
	Images  map[string]ImageRef
	HostIP  string
	Now     time.Time
	// Previous is the status that was reported last; Pod.Status is used where it is empty.
	Previous corev1.PodStatus
	// PodReason fails the pod for good, such as OutOfmemory; PodMessage says more.
	PodReason, PodMessage string
	// Terminating says that the pod is being deleted: nothing in it will be started again.
	Terminating bool
}

// Build returns the status of in.Pod. What others than a kubelet wrote into Pod.Status stays.
func Build(in Inputs) corev1.PodStatus {
	b := &builder{Inputs: in, old: in.Previous}
	if in.Previous.Phase == "" {
		b.old = in.Pod.Status
	}
	if in.VM != nil {
		b.guest = in.VM.Guest
		b.live = isLive(in.VM)
	}
	s := in.Pod.Status.DeepCopy()
	s.ObservedGeneration = in.Pod.Generation
	s.QOSClass = QOSClass(in.Pod)
	s.StartTime = b.startTime()
	s.HostIP, s.HostIPs = in.HostIP, nil
	if in.HostIP != "" {
		s.HostIPs = []corev1.HostIP{{IP: in.HostIP}}
	}
	b.containers(s)
	if b.over() {
		b.bury(s)
	}
	s.Phase, s.Reason, s.Message = b.phase(s)
	switch {
	case b.rejected():
		s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses = nil, nil, nil
	case isTerminal(s.Phase) && b.ended():
		b.bury(s)
	}
	bound(s)
	s.PodIPs = b.podIPs(s.Phase)
	s.PodIP = ""
	if len(s.PodIPs) > 0 {
		s.PodIP = s.PodIPs[0].IP
	}
	s.Conditions = b.conditions(s)
	return *s
}

// isLive reports whether vm's snapshot is of the boot that runs now. A VM that was adopted and whose guest has not answered
// yet is not current, but a snapshot from after its power-on is its own.
func isLive(vm *podvm.VM) bool {
	if vm.State != portlayer.StateRunning || vm.Guest == nil {
		return false
	}
	return vm.Current || (!vm.StartedAt.IsZero() && vm.Guest.Time.After(vm.StartedAt))
}

// builder holds what is found out on the way to a status.
type builder struct {
	Inputs
	old   corev1.PodStatus
	guest *wire.Snapshot
	// live is true when guest is of a VM that runs now.
	live  bool
	roles map[string]wire.Role
	// again holds the containers whose latest end is not their last.
	again map[string]bool
}

// rejected reports whether the pod never was a pod here. It has no containers.
func (b *builder) rejected() bool {
	return b.PodReason != "" || isTerminal(b.old.Phase) && len(b.old.ContainerStatuses) == 0
}

// over reports whether the pod was deleted and has ended: nothing of it will be started again.
func (b *builder) over() bool { return b.Terminating && b.ended() }

// ended reports whether nothing in the pod runs, and nothing will in this boot.
func (b *builder) ended() bool {
	return !b.powered() || (b.live && b.guest.Phase == wire.PhaseDone)
}

func (b *builder) powered() bool { return b.VM != nil && b.VM.State == portlayer.StateRunning }

func (b *builder) startTime() *metav1.Time {
	if b.old.StartTime != nil {
		return b.old.StartTime.DeepCopy()
	}
	now := seconds(b.Now)
	return &now
}

// podIPs are what the guest holds, else what the VM has leased once a guest held it. A finished pod shows the address
// that it had.
func (b *builder) podIPs(phase corev1.PodPhase) []corev1.PodIP {
	configured := b.guest != nil && b.guest.Phase != wire.PhaseWaiting
	var ips []corev1.PodIP
	switch {
	case b.live && configured && len(b.guest.Addresses) > 0:
		for _, a := range b.guest.Addresses {
			ips = append(ips, corev1.PodIP{IP: a.String()})
		}
	case configured && b.VM.State != portlayer.StateRemoved && len(b.VM.Spec.NICs) > 0:
		for _, n := range b.VM.Spec.NICs {
			for _, a := range n.Addresses {
				ips = append(ips, corev1.PodIP{IP: a.Addr().String()})
			}
		}
	case isTerminal(phase):
		ips = b.old.PodIPs
	}
	return ips
}

// seconds is t as the API keeps it.
func seconds(t time.Time) metav1.Time {
	if t.IsZero() {
		return metav1.Time{}
	}
	return metav1.NewTime(t.Truncate(time.Second))
}

func isTerminal(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }
