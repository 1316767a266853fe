package plan

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// Restarts reports whether pod starts m again after it ended with code: rules come first, then the container's own policy,
// then the pod's. An init container that ended well has done its work, and an ephemeral one is never started again.
func Restarts(pod *corev1.Pod, m Member, code int32) bool {
	switch {
	case m.Role == wire.RoleSidecar:
		return true
	case m.Role == wire.RoleEphemeral, m.Role == wire.RoleInit && code == 0:
		return false
	}
	return MayLeaveEnd(pod, m, code)
}

// MayLeaveEnd reports whether the API server takes another state of m after it was written that m ended with code: it asks the
// rules and policies alone (k8s.io/kubernetes, pkg/apis/core/validation, ValidateContainerStateTransition).
func MayLeaveEnd(pod *corev1.Pod, m Member, code int32) bool {
	for _, r := range restartRules(m.Container) {
		if slices.Contains(r.ExitCodes, code) != r.NotIn {
			return r.Restart
		}
	}
	switch policyOf(pod, m) {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	case corev1.RestartPolicyAlways:
	}
	return true
}

// policyOf is m's own policy, else the pod's.
func policyOf(pod *corev1.Pod, m Member) corev1.RestartPolicy {
	if m.RestartPolicy != nil {
		return corev1.RestartPolicy(*m.RestartPolicy)
	}
	return cmp.Or(pod.Spec.RestartPolicy, corev1.RestartPolicyAlways)
}

func restartRules(c *corev1.Container) []wire.RestartRule {
	var rules []wire.RestartRule
	for i := range c.RestartPolicyRules {
		r := &c.RestartPolicyRules[i]
		if r.ExitCodes == nil {
			continue
		}
		rules = append(rules, wire.RestartRule{
			Restart:   r.Action == corev1.ContainerRestartRuleActionRestart,
			ExitCodes: slices.Clone(r.ExitCodes.Values),
			NotIn:     r.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpNotIn,
		})
	}
	return rules
}

// RunsAgain reports whether the next boot starts m, which ended like end in or before the boot of former. What the guest
// had already decided to start again stays decided, and what the shutdown of the node has cut short runs again, also
// where it answered the signal with exit code 0.
func RunsAgain(pod *corev1.Pod, m Member, former *wire.Snapshot, end *wire.Terminated) bool {
	c, _ := former.Container(m.Name)
	switch {
	case m.Role == wire.RoleEphemeral, former.StopReason == wire.StopReasonDeadline:
		return false
	case c.State == wire.ContainerWaiting && c.Current == nil:
		return true
	case former.StopReason == StopReasonNodeShutdown && c.Known && policyOf(pod, m) != corev1.RestartPolicyNever:
		return true
	}
	return Restarts(pod, m, end.ExitCode)
}
