package status

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Reasons of conditions, the kubelet's but for the last.
const (
	ReasonSandboxNotReady          = "PodSandboxNotReady"
	ReasonPodCompleted             = "PodCompleted"
	ReasonPodFailed                = "PodFailed"
	ReasonContainersNotInitialized = "ContainersNotInitialized"
	ReasonContainersNotReady       = "ContainersNotReady"
	ReasonReadinessGatesNotReady   = "ReadinessGatesNotReady"
	// ReasonGuestUnreachable says that the VM runs and its guest has been silent for SilentAfter.
	ReasonGuestUnreachable = "GuestUnreachable"
)

// ours are the conditions that a kubelet writes, in its order.
var ours = []corev1.PodConditionType{
	corev1.PodReadyToStartContainers, corev1.PodInitialized, corev1.PodReady, corev1.ContainersReady, corev1.PodScheduled,
}

// verdict is a condition without its times; no reason and message go with true.
type verdict struct {
	ok              bool
	reason, message string
}

// conditions are those of others as they are, then ours.
func (b *builder) conditions(s *corev1.PodStatus) []corev1.PodCondition {
	all := slices.DeleteFunc(slices.Clone(b.Pod.Status.Conditions), func(c corev1.PodCondition) bool {
		return slices.Contains(ours, c.Type)
	})
	containersReady := b.containersReady(s)
	verdicts := map[corev1.PodConditionType]verdict{
		corev1.PodReadyToStartContainers: b.sandbox(),
		corev1.PodInitialized:            b.initialized(s),
		corev1.PodReady:                  b.ready(containersReady, all),
		corev1.ContainersReady:           containersReady,
		corev1.PodScheduled:              {ok: true},
	}
	for _, t := range ours {
		all = append(all, b.condition(t, verdicts[t]))
	}
	return all
}

// condition dates v by its last change.
func (b *builder) condition(t corev1.PodConditionType, v verdict) corev1.PodCondition {
	c := corev1.PodCondition{
		Type: t, Status: corev1.ConditionFalse, Reason: v.reason, Message: v.message,
		ObservedGeneration: b.Pod.Generation, LastTransitionTime: seconds(b.Now),
	}
	if v.ok {
		c.Status = corev1.ConditionTrue
	}
	for _, before := range [][]corev1.PodCondition{b.old.Conditions, b.Pod.Status.Conditions} {
		i := slices.IndexFunc(before, func(o corev1.PodCondition) bool { return o.Type == t })
		if i < 0 {
			continue
		}
		if before[i].Status == c.Status && !before[i].LastTransitionTime.IsZero() {
			c.LastTransitionTime = *before[i].LastTransitionTime.DeepCopy()
		}
		break
	}
	return c
}

// sandbox needs a pod VM whose guest has the pod's network and volumes.
func (b *builder) sandbox() verdict {
	switch {
	case b.VM == nil:
		return verdict{reason: ReasonSandboxNotReady, message: "no pod VM exists"}
	case !b.live || b.guest.Phase == wire.PhaseWaiting:
		return verdict{reason: ReasonSandboxNotReady, message: "the pod VM is not ready"}
	}
	return verdict{ok: true}
}

// initialized needs the ends of all init containers and the start of all sidecars, once: a pod one of whose containers
// has started is initialized.
func (b *builder) initialized(s *corev1.PodStatus) verdict {
	if s.Phase == corev1.PodSucceeded {
		return verdict{ok: true, reason: ReasonPodCompleted}
	}
	if anyStarted(s) {
		return verdict{ok: true}
	}
	var incomplete []string
	for i := range s.InitContainerStatuses {
		c := &s.InitContainerStatuses[i]
		complete := c.Ready
		if b.roles[c.Name] == wire.RoleSidecar {
			complete = isTrue(c.Started)
		}
		if !complete {
			incomplete = append(incomplete, c.Name)
		}
	}
	if len(incomplete) > 0 {
		return verdict{
			reason: ReasonContainersNotInitialized, message: fmt.Sprintf("containers with incomplete status: %s", incomplete),
		}
	}
	return verdict{ok: true}
}

func (b *builder) containersReady(s *corev1.PodStatus) verdict {
	switch s.Phase {
	case corev1.PodSucceeded:
		return verdict{reason: ReasonPodCompleted}
	case corev1.PodFailed:
		return verdict{reason: ReasonPodFailed}
	case corev1.PodPending, corev1.PodRunning, corev1.PodUnknown:
	}
	var unready []string
	for i := range s.InitContainerStatuses {
		if c := &s.InitContainerStatuses[i]; b.roles[c.Name] == wire.RoleSidecar && !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	for i := range s.ContainerStatuses {
		if c := &s.ContainerStatuses[i]; !c.Ready {
			unready = append(unready, c.Name)
		}
	}
	if len(unready) > 0 {
		return verdict{reason: ReasonContainersNotReady, message: fmt.Sprintf("containers with unready status: %s", unready)}
	}
	return verdict{ok: true}
}

// ready needs the containers, a guest that answers, and the conditions that spec.readinessGates name.
func (b *builder) ready(containers verdict, others []corev1.PodCondition) verdict {
	if !containers.ok {
		return containers
	}
	if b.silent() {
		return verdict{reason: ReasonGuestUnreachable, message: "the guest in the pod's VM has not answered since " +
			b.VM.SilentSince.UTC().Format(time.RFC3339)}
	}
	var unready []string
	for _, g := range b.Pod.Spec.ReadinessGates {
		i := slices.IndexFunc(others, func(c corev1.PodCondition) bool { return c.Type == g.ConditionType })
		switch {
		case i < 0:
			unready = append(unready, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", g.ConditionType))
		case others[i].Status != corev1.ConditionTrue:
			unready = append(unready, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %s",
				g.ConditionType, others[i].Status))
		}
	}
	if len(unready) > 0 {
		return verdict{reason: ReasonReadinessGatesNotReady, message: strings.Join(unready, ", ")}
	}
	return verdict{ok: true}
}

func (b *builder) silent() bool {
	return b.VM != nil && !b.VM.SilentSince.IsZero() && b.Now.Sub(b.VM.SilentSince) >= SilentAfter
}
