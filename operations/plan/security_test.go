package plan_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/plan"
)

func securityOf(t *testing.T, pod *corev1.PodSecurityContext, own *corev1.SecurityContext) wire.Security {
	t.Helper()
	p := &corev1.Pod{Spec: corev1.PodSpec{
		SecurityContext: pod, Containers: []corev1.Container{{Name: "c", Command: []string{"x"}, SecurityContext: own}},
	}}
	got, err := plan.Container(p, plan.Members(p)[0], plan.ContainerInputs{})
	require.NoError(t, err)
	return got.Security
}

// runtimeDefault asks for the profile of that name.
func runtimeDefault() *corev1.SeccompProfile {
	return &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}
}

func TestSecurity(t *testing.T) {
	assert.Equal(t, wire.Security{}, securityOf(t, nil, nil), "nothing is asked for")
	assert.Equal(t, wire.Security{Groups: []int64{5, 6}, OnlyGroups: true, Privileged: true, UnmaskedProc: true}, securityOf(t,
		&corev1.PodSecurityContext{
			SupplementalGroups: []int64{5, 6}, SupplementalGroupsPolicy: new(corev1.SupplementalGroupsPolicyStrict),
			SeccompProfile: runtimeDefault(),
		},
		&corev1.SecurityContext{Privileged: new(true), AllowPrivilegeEscalation: new(true), ProcMount: new(corev1.UnmaskedProcMount)}),
		"nothing confines a privileged container")
	assert.True(t, securityOf(t, nil, &corev1.SecurityContext{AllowPrivilegeEscalation: new(false)}).NoNewPrivileges)
}

func TestCapabilities(t *testing.T) {
	const all = 41 // since Linux 5.9
	tests := map[string]struct {
		add, drop []corev1.Capability
		count     int
		has, not  []string
	}{
		"one more":                    {add: []corev1.Capability{"NET_ADMIN"}, count: 15, has: []string{"NET_ADMIN", "CHOWN"}},
		"names as the kernel's":       {add: []corev1.Capability{"cap_net_admin"}, count: 15, has: []string{"NET_ADMIN"}},
		"one less":                    {drop: []corev1.Capability{"NET_RAW"}, count: 13, not: []string{"NET_RAW"}},
		"none":                        {drop: []corev1.Capability{"ALL"}},
		"all but one":                 {add: []corev1.Capability{"ALL"}, drop: []corev1.Capability{"SYS_ADMIN"}, count: all - 1, not: []string{"SYS_ADMIN"}},
		"only one":                    {add: []corev1.Capability{"NET_BIND_SERVICE"}, drop: []corev1.Capability{"ALL"}, count: 1, has: []string{"NET_BIND_SERVICE"}},
		"one that there is otherwise": {add: []corev1.Capability{"CHOWN"}, count: 14},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := securityOf(t, nil, &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Add: tt.add, Drop: tt.drop}})
			assert.Equal(t, []string{"ALL"}, got.DropCapabilities, "what is added is all that there is")
			assert.Len(t, got.AddCapabilities, tt.count)
			assert.Subset(t, got.AddCapabilities, tt.has)
			for _, n := range tt.not {
				assert.NotContains(t, got.AddCapabilities, n)
			}
		})
	}
	got := securityOf(t, nil, &corev1.SecurityContext{Capabilities: &corev1.Capabilities{}})
	assert.Empty(t, got.DropCapabilities, "nothing is asked for")
}

func TestACapabilityThatDoesNotExist(t *testing.T) {
	_, err := build(corev1.Container{
		Command: []string{"x"}, SecurityContext: &corev1.SecurityContext{Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"FLY"}}},
	}, plan.ContainerInputs{})
	var config *environment.ConfigError
	require.ErrorAs(t, err, &config)
	assert.Equal(t, environment.ReasonCreateContainerError, config.Reason)
	assert.Equal(t, `unknown capability "FLY"`, config.Message)
}

func TestSeccompFollowsTheCapabilities(t *testing.T) {
	// allowed reports whether the profile lets a system call pass whatever its arguments are.
	allowed := func(s wire.Security, call string) bool {
		var profile specs.LinuxSeccomp
		require.NoError(t, json.Unmarshal(s.Seccomp, &profile))
		require.Equal(t, specs.ActErrno, profile.DefaultAction)
		return slices.ContainsFunc(profile.Syscalls, func(c specs.LinuxSyscall) bool {
			return c.Action == specs.ActAllow && len(c.Args) == 0 && slices.Contains(c.Names, call)
		})
	}
	restricted := securityOf(t, &corev1.PodSecurityContext{SeccompProfile: runtimeDefault()}, nil)
	assert.True(t, allowed(restricted, "read"))
	assert.False(t, allowed(restricted, "mount"))
	admin := securityOf(t, nil, &corev1.SecurityContext{
		SeccompProfile: runtimeDefault(), Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"SYS_ADMIN"}},
	})
	assert.True(t, allowed(admin, "mount"))
	unconfined := securityOf(t, &corev1.PodSecurityContext{SeccompProfile: runtimeDefault()},
		&corev1.SecurityContext{SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeUnconfined}})
	assert.Empty(t, unconfined.Seccomp, "the container's word is the stronger")
}
