package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/plan"
)

func TestRestarts(t *testing.T) {
	own := func(p corev1.ContainerRestartPolicy) *corev1.ContainerRestartPolicy { return &p }
	rule := func(op corev1.ContainerRestartRuleOnExitCodesOperator, codes ...int32) []corev1.ContainerRestartRule {
		return []corev1.ContainerRestartRule{{
			Action:    corev1.ContainerRestartRuleActionRestart,
			ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: op, Values: codes},
		}}
	}
	const in, notIn = corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn
	tests := map[string]struct {
		policy corev1.RestartPolicy
		role   wire.Role
		own    *corev1.ContainerRestartPolicy
		rules  []corev1.ContainerRestartRule
		code   int32
		want   bool
	}{
		"always after success":                         {policy: always, want: true},
		"by default":                                   {want: true},
		"on failure after one":                         {policy: onFailure, code: 1, want: true},
		"not after success":                            {policy: onFailure},
		"never, whatever it was":                       {policy: never, code: 1},
		"an init container that ended well is done":    {policy: always, role: wire.RoleInit},
		"one that failed is tried again":               {policy: always, role: wire.RoleInit, code: 1, want: true},
		"and never is never":                           {policy: never, role: wire.RoleInit, code: 1},
		"a sidecar always":                             {policy: never, role: wire.RoleSidecar, own: own("Always"), want: true},
		"a debugger never":                             {policy: always, role: wire.RoleEphemeral, code: 1},
		"the container's own policy comes first":       {policy: never, own: own("OnFailure"), code: 1, want: true},
		"and says no too":                              {policy: always, own: own("Never"), code: 1},
		"a rule comes before both":                     {policy: never, own: own("Never"), rules: rule(in, 42), code: 42, want: true},
		"a rule of other codes does not matter":        {policy: never, own: own("Never"), rules: rule(in, 42), code: 41},
		"a rule for all other codes":                   {policy: never, own: own("Never"), rules: rule(notIn, 42), code: 41, want: true},
		"a rule for all other codes leaves its own be": {policy: never, own: own("Never"), rules: rule(notIn, 42), code: 42},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := plan.Member{Role: tt.role, Container: &corev1.Container{Name: "c", RestartPolicy: tt.own, RestartPolicyRules: tt.rules}}
			pod := &corev1.Pod{Spec: corev1.PodSpec{RestartPolicy: tt.policy}}
			require.Equal(t, tt.want, plan.Restarts(pod, m, tt.code))
		})
	}
}

func TestAPodPastItsDeadlineStartsNothingAgain(t *testing.T) {
	m := plan.Member{Container: &corev1.Container{Name: "c"}}
	former := &wire.Snapshot{StopReason: wire.StopReasonDeadline, Containers: []wire.ContainerStatus{final("c", 143)}}
	require.False(t, plan.RunsAgain(&corev1.Pod{}, m, former, ended(0, 143)))
}

func TestTaken(t *testing.T) {
	member := func(role wire.Role) plan.Member {
		return plan.Member{Role: role, Container: &corev1.Container{Name: "c", Image: "app:2"}}
	}
	now := member(wire.RoleApp).Revision()
	tests := map[string]struct {
		role wire.Role
		c    wire.ContainerStatus
		want bool
	}{
		"one that the guest does not know":            {c: wire.ContainerStatus{}},
		"one that it has":                             {c: wire.ContainerStatus{Known: true, Revision: now}, want: true},
		"one that it has with another image":          {c: wire.ContainerStatus{Known: true, Revision: "before"}},
		"one that will never run":                     {c: wire.ContainerStatus{Final: true}, want: true},
		"a sidecar with another image":                {role: wire.RoleSidecar, c: wire.ContainerStatus{Known: true, Revision: "before"}},
		"an init container runs to its end":           {role: wire.RoleInit, c: wire.ContainerStatus{Known: true, Revision: "before", State: wire.ContainerRunning}, want: true},
		"and takes the new image with its next start": {role: wire.RoleInit, c: wire.ContainerStatus{Known: true, Revision: "before", State: wire.ContainerWaiting}},
		"a debugger stays what it is":                 {role: wire.RoleEphemeral, c: wire.ContainerStatus{Known: true, Revision: "before"}, want: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.want, member(tt.role).Taken(tt.c))
		})
	}
}
