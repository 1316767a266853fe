package plan_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/virtual-kubelet/vic/guest/wire"
	"github.com/virtual-kubelet/vic/operations/environment"
	"github.com/virtual-kubelet/vic/operations/plan"
)

// health builds a container with a port named http.
func health(c corev1.Container) (wire.Container, error) {
	c.Command = []string{"x"}
	c.Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}
	return build(c, plan.ContainerInputs{Env: []string{"A=pod"}, Image: plan.ImageConfig{StopSignal: "SIGINT"}})
}

func TestProbes(t *testing.T) {
	got, err := health(corev1.Container{
		StartupProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"test", "$(A)"}}}},
		LivenessProbe: &corev1.Probe{
			ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{
				Port: intstr.FromString("http"), Scheme: corev1.URISchemeHTTPS, Path: "/live?x=1", Host: "10.0.0.9",
				HTTPHeaders: []corev1.HTTPHeader{{Name: "Host", Value: "a"}, {Name: "X", Value: "b"}},
			}},
			InitialDelaySeconds: 1, PeriodSeconds: 2, TimeoutSeconds: 3, SuccessThreshold: 4, FailureThreshold: 5,
			TerminationGracePeriodSeconds: new(int64(6)),
		},
		ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(9)}}},
	})
	require.NoError(t, err)
	standard := wire.Probe{Period: 10 * time.Second, Timeout: time.Second, SuccessThreshold: 1, FailureThreshold: 3}
	startup, readiness := standard, standard
	startup.Action = wire.Action{Exec: []string{"test", "pod"}}
	readiness.Action = wire.Action{TCP: &wire.TCPAction{Port: 9}}
	assert.Equal(t, &startup, got.StartupProbe)
	assert.Equal(t, &readiness, got.ReadinessProbe)
	assert.Equal(t, &wire.Probe{
		Action: wire.Action{HTTP: &wire.HTTPAction{
			Scheme: "https", Host: "10.0.0.9", Port: 8080, Path: "/live?x=1", Headers: []wire.HTTPHeader{{Name: "Host", Value: "a"}, {Name: "X", Value: "b"}},
		}},
		InitialDelay: time.Second, Period: 2 * time.Second, Timeout: 3 * time.Second, SuccessThreshold: 4, FailureThreshold: 5,
		Grace: new(6 * time.Second),
	}, got.LivenessProbe)

	got, err = health(corev1.Container{LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
		GRPC: &corev1.GRPCAction{Port: 7, Service: new("health")},
	}}})
	require.NoError(t, err)
	assert.Equal(t, wire.Action{GRPC: &wire.GRPCAction{Port: 7, Service: "health"}}, got.LivenessProbe.Action)
}

func TestHowAProbeConnects(t *testing.T) {
	http := func(p *corev1.HTTPProtocol) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(7), Protocol: p}}
	}
	grpc := func(m *corev1.GRPCProbeMode) corev1.ProbeHandler {
		return corev1.ProbeHandler{GRPC: &corev1.GRPCAction{Port: 7, Mode: m}}
	}
	tests := map[string]struct {
		handler corev1.ProbeHandler
		want    wire.Action
	}{
		"HTTP/1 by name":  {http(new(corev1.HTTPProtocolHTTP1)), wire.Action{HTTP: &wire.HTTPAction{Scheme: "http", Port: 7, Path: "/"}}},
		"HTTP/2":          {http(new(corev1.HTTPProtocolHTTP2)), wire.Action{HTTP: &wire.HTTPAction{Scheme: "http", Port: 7, Path: "/", HTTP2: true}}},
		"gRPC in plain":   {grpc(new(corev1.GRPCProbeModePlaintext)), wire.Action{GRPC: &wire.GRPCAction{Port: 7}}},
		"gRPC within TLS": {grpc(new(corev1.GRPCProbeModeTLS)), wire.Action{GRPC: &wire.GRPCAction{Port: 7, TLS: true}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := health(corev1.Container{LivenessProbe: &corev1.Probe{ProbeHandler: tt.handler}})
			require.NoError(t, err)
			assert.Equal(t, tt.want, got.LivenessProbe.Action)
		})
	}
	for want, handler := range map[string]corev1.ProbeHandler{
		`livenessProbe: httpGet.protocol "HTTP3" is neither HTTP1 nor HTTP2`: http(new(corev1.HTTPProtocol("HTTP3"))),
		`livenessProbe: grpc.mode "mTLS" is neither Plaintext nor TLS`:       grpc(new(corev1.GRPCProbeMode("mTLS"))),
	} {
		_, err := health(corev1.Container{LivenessProbe: &corev1.Probe{ProbeHandler: handler}})
		require.ErrorContains(t, err, want)
	}
}

func TestHooks(t *testing.T) {
	got, err := health(corev1.Container{Lifecycle: &corev1.Lifecycle{
		PostStart:  &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"echo", "$(A)"}}},
		PreStop:    &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("http")}},
		StopSignal: new(corev1.SIGUSR1),
	}})
	require.NoError(t, err)
	assert.Equal(t, &wire.Action{Exec: []string{"echo", "$(A)"}}, got.PostStart, "a kubelet expands nothing here")
	assert.Equal(t, &wire.Action{HTTP: &wire.HTTPAction{Scheme: "http", Port: 8080, Path: "/"}}, got.PreStop)
	assert.Equal(t, "SIGUSR1", got.StopSignal)

	got, err = health(corev1.Container{Lifecycle: &corev1.Lifecycle{
		PostStart: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{}},
		PreStop:   &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 3}},
	}})
	require.NoError(t, err)
	assert.Nil(t, got.PostStart, "to sleep for no time is nothing to do")
	assert.Equal(t, &wire.Action{Sleep: 3 * time.Second}, got.PreStop)
	assert.Equal(t, "SIGINT", got.StopSignal, "the image's where the pod has none")
}

func TestAPortThatIsNone(t *testing.T) {
	get := func(port intstr.IntOrString) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: port}}
	}
	tests := map[string]struct {
		container corev1.Container
		want      string
	}{
		"by name": {
			corev1.Container{ReadinessProbe: &corev1.Probe{ProbeHandler: get(intstr.FromString("web"))}},
			`readinessProbe: the container has no port named "web"`,
		},
		"by number": {
			corev1.Container{LivenessProbe: &corev1.Probe{ProbeHandler: get(intstr.FromInt32(70000))}},
			"livenessProbe: port 70000 is not between 1 and 65535",
		},
		"in a hook": {
			corev1.Container{Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromString("web")}}}},
			`lifecycle.preStop: the container has no port named "web"`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := health(tt.container)
			var config *environment.ConfigError
			require.ErrorAs(t, err, &config)
			assert.Equal(t, environment.ReasonCreateContainerConfigError, config.Reason)
			assert.Equal(t, tt.want, config.Message)
		})
	}
}

func TestAnEphemeralContainer(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{EphemeralContainers: []corev1.EphemeralContainer{{
		EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debug", Image: "busybox", Command: []string{"sh"}},
		TargetContainerName:      "c",
	}}}}
	got, err := plan.Container(pod, plan.Members(pod)[0], plan.ContainerInputs{Defaults: plan.StandardDefaults()})
	require.NoError(t, err)
	assert.True(t, got.Ephemeral)
	assert.Equal(t, "c", got.Target)
}
