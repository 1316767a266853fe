package plan_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/plan"
)

var image = plan.ImageConfig{
	Entrypoint: []string{"/entry"}, Cmd: []string{"serve", "$(A)"}, Env: []string{"PATH=/bin", "A=image", "LANG=C"},
	User: "app:staff", WorkingDir: "/srv", StopSignal: "SIGINT",
}

func build(c corev1.Container, in plan.ContainerInputs) (wire.Container, error) {
	c.Name = "c"
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{c}},
	}
	in.Defaults = plan.StandardDefaults()
	return plan.Container(pod, plan.Members(pod)[0], in)
}

// revision is that of a container with that image.
func revision(image string) string {
	return plan.Member{Container: &corev1.Container{Image: image}}.Revision()
}

func TestContainer(t *testing.T) {
	got, err := build(corev1.Container{
		TTY: true, Stdin: true, StdinOnce: true, WorkingDir: "/work",
		Resources:              corev1.ResourceRequirements{Limits: list("cpu", "2", "memory", "1Gi"), Requests: list("cpu", "500m")},
		TerminationMessagePath: "/dev/message", TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
		SecurityContext: &corev1.SecurityContext{ReadOnlyRootFilesystem: new(true)},
		VolumeMounts: []corev1.VolumeMount{
			{Name: "inner", MountPath: "/data/inner/", ReadOnly: true, BindMountOptions: []string{"noexec"}},
			{Name: "outer", MountPath: "/data", SubPath: "sub"},
			{Name: "own", MountPath: "relative", SubPathExpr: "logs/$(A)"},
		},
	}, plan.ContainerInputs{Image: image, Env: []string{"A=pod", "B=b"}, Disks: []string{"d1"}})
	require.NoError(t, err)
	assert.Equal(t, wire.Container{
		Name: "c", Revision: revision(""), Disks: []string{"d1"}, Args: []string{"/entry", "serve", "$(A)"},
		Env:        []string{"PATH=/bin", "HOSTNAME=web", "TERM=xterm", "A=pod", "LANG=C", "B=b"},
		WorkingDir: "/work", User: "app:staff", TTY: true, Stdin: true, StdinOnce: true,
		Mounts: []wire.Mount{
			{Volume: "outer", Path: "/data", SubPath: "sub"},
			{Volume: "own", Path: "/relative", SubPath: "logs/pod"},
			{Volume: "inner", Path: "/data/inner", ReadOnly: true, Options: []string{"noexec"}},
		},
		Resources:  wire.Resources{MemoryBytes: gibi, CPUMilli: 2000, CPURequestMilli: 500},
		StopSignal: "SIGINT", TerminationMessagePath: "/dev/message", TerminationMessageFromLog: true, ReadOnlyRoot: true,
	}, got)
}

func TestAContainerThatSaysNothing(t *testing.T) {
	got, err := build(corev1.Container{}, plan.ContainerInputs{Image: plan.ImageConfig{Cmd: []string{"sh"}}})
	require.NoError(t, err)
	assert.Equal(t, wire.Container{
		Name: "c", Revision: revision(""), Args: []string{"sh"}, WorkingDir: "/", Mounts: []wire.Mount{},
		Env:                    []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOSTNAME=web"},
		Resources:              wire.Resources{MemoryBytes: 512 * mebi},
		TerminationMessagePath: "/dev/termination-log",
	}, got)
}

func TestArguments(t *testing.T) {
	tests := map[string]struct{ command, args, want []string }{
		"the image's":                             {nil, nil, []string{"/entry", "serve", "$(A)"}},
		"args replace cmd":                        {nil, []string{"x"}, []string{"/entry", "x"}},
		"a command replaces entrypoint and cmd":   {[]string{"x"}, nil, []string{"x"}},
		"a command and args":                      {[]string{"x"}, []string{"y"}, []string{"x", "y"}},
		"the pod's variables are expanded":        {[]string{"$(A)"}, []string{"$$(A)", "$(NO)"}, []string{"pod", "$(A)", "$(NO)"}},
		"the image's variables are not":           {nil, []string{"$(LANG)"}, []string{"/entry", "$(LANG)"}},
		"an empty argument stays an argument too": {[]string{"x"}, []string{""}, []string{"x", ""}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := build(corev1.Container{Command: tt.command, Args: tt.args}, plan.ContainerInputs{Image: image, Env: []string{"A=pod"}})
			require.NoError(t, err)
			require.Equal(t, tt.want, got.Args)
		})
	}
}

func TestContainerRefuses(t *testing.T) {
	expr := func(s string) corev1.Container {
		return corev1.Container{VolumeMounts: []corev1.VolumeMount{{Name: "v", SubPathExpr: s}}}
	}
	nonRoot := &corev1.SecurityContext{RunAsNonRoot: new(true)}
	tests := map[string]struct {
		container corev1.Container
		image     plan.ImageConfig
		reason    string
		message   string
	}{
		"nothing to run": {
			corev1.Container{},
			plan.ImageConfig{},
			environment.ReasonCreateContainerError,
			"no command specified: neither the pod nor the image says what to run",
		},
		"a sub-path of an unknown variable": {
			expr("a/$(NO)"), image, environment.ReasonCreateContainerConfigError,
			`subPathExpr "a/$(NO)" of volume v: missing value for [NO]`,
		},
		"a sub-path out of the volume": {
			expr("$(UP)/x"), image, environment.ReasonCreateContainerConfigError,
			`subPathExpr "$(UP)/x" of volume v: "../x" is not a path inside the volume`,
		},
		"an absolute sub-path": {
			expr("$(ROOT)"), image, environment.ReasonCreateContainerConfigError,
			`subPathExpr "$(ROOT)" of volume v: "/" is not a path inside the volume`,
		},
		"root where the user must not be": {
			corev1.Container{SecurityContext: nonRoot},
			plan.ImageConfig{Cmd: []string{"x"}},
			environment.ReasonCreateContainerConfigError, "container has runAsNonRoot and image will run as root",
		},
		"root by its number": {
			corev1.Container{SecurityContext: nonRoot},
			plan.ImageConfig{Cmd: []string{"x"}, User: "0:5"},
			environment.ReasonCreateContainerConfigError, "container has runAsNonRoot and image will run as root",
		},
		"a user of whom nothing is known": {
			corev1.Container{SecurityContext: nonRoot},
			image, environment.ReasonCreateContainerConfigError,
			"container has runAsNonRoot and image has non-numeric user (app), cannot verify user is non-root",
		},
		"a pod that contradicts itself": {
			corev1.Container{SecurityContext: &corev1.SecurityContext{RunAsNonRoot: new(true), RunAsUser: new(int64(0))}},
			image,
			environment.ReasonCreateContainerConfigError, "container's runAsUser breaks non-root policy",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := build(tt.container, plan.ContainerInputs{Image: tt.image, Env: []string{"UP=..", "ROOT=/"}})
			var config *environment.ConfigError
			require.ErrorAs(t, err, &config)
			assert.Equal(t, tt.reason, config.Reason)
			assert.Equal(t, tt.message, config.Message)
		})
	}
}

func TestUser(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	tests := map[string]struct {
		pod       *corev1.PodSecurityContext
		container *corev1.SecurityContext
		image     string
		want      string
	}{
		"the image's":                          {nil, nil, "app:staff", "app:staff"},
		"the pod's user takes its own group":   {&corev1.PodSecurityContext{RunAsUser: id(7)}, nil, "app:staff", "7"},
		"the container's word is the stronger": {&corev1.PodSecurityContext{RunAsUser: id(7)}, &corev1.SecurityContext{RunAsUser: id(8)}, "app", "8"},
		"user and group":                       {&corev1.PodSecurityContext{RunAsUser: id(7), RunAsGroup: id(9)}, nil, "app", "7:9"},
		"a group for the image's user":         {nil, &corev1.SecurityContext{RunAsGroup: id(9)}, "app:staff", "app:9"},
		"a group for root":                     {nil, &corev1.SecurityContext{RunAsGroup: id(9)}, "", "0:9"},
		"the container lifts the pod's rule":   {&corev1.PodSecurityContext{RunAsNonRoot: new(true)}, &corev1.SecurityContext{RunAsNonRoot: new(false)}, "", ""},
		"a number that is not root's":          {&corev1.PodSecurityContext{RunAsNonRoot: new(true)}, nil, "12:0", "12:0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := corev1.Container{Name: "c", Command: []string{"x"}, SecurityContext: tt.container}
			pod := &corev1.Pod{Spec: corev1.PodSpec{SecurityContext: tt.pod, Containers: []corev1.Container{c}}}
			got, err := plan.Container(pod, plan.Members(pod)[0], plan.ContainerInputs{Image: plan.ImageConfig{User: tt.image}})
			require.NoError(t, err)
			require.Equal(t, tt.want, got.User)
		})
	}
}
