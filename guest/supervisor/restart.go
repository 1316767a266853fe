package supervisor

import (
	"cmp"
	"slices"

	"github.com/virtual-kubelet/vic/guest/wire"
)

// cause is why an attempt ended.
type cause int

const (
	causeOwn      cause = iota // by itself, or because the pod ends
	causeProbe                 // the liveness or the startup probe failed
	causeRevision              // another revision of the container takes its place
)

// restarts reports whether a container that ended with code is started again, as long as the pod goes on.
func restarts(pod wire.Pod, c wire.Container, role wire.Role, why cause, code int32) bool {
	switch {
	case role == wire.RoleEphemeral:
		return false
	case role == wire.RoleSidecar, why == causeRevision:
		return true
	case role == wire.RoleInit && code == 0:
		return false
	}
	if again, ok := matchRule(c.RestartRules, code); ok {
		return again
	}
	switch cmp.Or(c.RestartPolicy, pod.RestartPolicy) {
	case restartAlways:
		return true
	case restartOnFailure:
		// A container whose probe failed has failed, whatever it answered to the signal.
		return code != 0 || why == causeProbe
	default:
		return false
	}
}

// matchRule is the word of the first rule that knows the exit code.
func matchRule(rules []wire.RestartRule, code int32) (again, ok bool) {
	for _, r := range rules {
		if slices.Contains(r.ExitCodes, code) != r.NotIn {
			return r.Restart, true
		}
	}
	return false, false
}
