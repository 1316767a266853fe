package environment_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/operations/environment"
)

// cluster is what a Resolver reads, in memory.
type cluster struct {
	configMaps map[string]*corev1.ConfigMap
	secrets    map[string]*corev1.Secret
	services   map[string][]*corev1.Service
	err        error
}

func (c *cluster) ConfigMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	return lookUp(c, c.configMaps, "configmaps", name)
}

func (c *cluster) Secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	return lookUp(c, c.secrets, "secrets", name)
}

func (c *cluster) Services(namespace string) ([]*corev1.Service, error) {
	return c.services[namespace], nil
}

func lookUp[T any](c *cluster, all map[string]*T, kind, name string) (*T, error) {
	if c.err != nil {
		return nil, c.err
	}
	if o, ok := all[name]; ok {
		return o, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: kind}, name)
}

func service(name, ip string, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{ClusterIP: ip, Ports: ports},
	}
}

func newCluster() *cluster {
	return &cluster{
		configMaps: map[string]*corev1.ConfigMap{
			"settings": {Data: map[string]string{"COLOUR": "red", "SHAPE": "round", "9TH": "x"}},
		},
		secrets: map[string]*corev1.Secret{"keys": {Data: map[string][]byte{"TOKEN": []byte("s3"), "COLOUR": []byte("blue")}}},
		services: map[string][]*corev1.Service{
			"default": {
				service("kubernetes", "10.96.0.1", corev1.ServicePort{Name: "https", Port: 443}),
				service("other", "10.96.0.2", corev1.ServicePort{Port: 1}),
			},
			"shop": {
				service("my-db", "10.96.0.3", corev1.ServicePort{Port: 53, Protocol: corev1.ProtocolUDP}),
				service("headless", corev1.ClusterIPNone, corev1.ServicePort{Port: 1}),
				service("elsewhere", ""),
			},
		},
	}
}

func newPod(c corev1.Container) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop", UID: "u1", Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{c}, NodeName: "vic-local", ServiceAccountName: "robot",
			EnableServiceLinks: new(false),
		},
	}
}

var inputs = environment.Inputs{
	PodIP: "10.1.0.2", HostIP: "192.0.2.1",
	NodeAllocatable: corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi"),
	},
}

func resolve(t *testing.T, c *cluster, pod *corev1.Pod) ([]string, []string, error) {
	t.Helper()
	events := record.NewFakeRecorder(10)
	r := environment.New(environment.Config{Objects: c, Services: c, Events: events})
	env, err := r.Env(t.Context(), pod, &pod.Spec.Containers[0], inputs)
	close(events.Events)
	var reported []string
	for e := range events.Events {
		reported = append(reported, e)
	}
	return env, reported, err
}

// master is what the API server's service always adds.
var master = []string{
	"KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_SERVICE_PORT_HTTPS=443",
	"KUBERNETES_PORT=tcp://10.96.0.1:443", "KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443",
	"KUBERNETES_PORT_443_TCP_PROTO=tcp", "KUBERNETES_PORT_443_TCP_PORT=443", "KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1",
}

func field(path string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
}

func key(name, key string, optional bool) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: &optional,
	}}
}

func secretKey(name, key string, optional bool) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Key: key, Optional: &optional,
	}}
}

func resourceOf(name, divisor string) *corev1.EnvVarSource {
	return &corev1.EnvVarSource{ResourceFieldRef: &corev1.ResourceFieldSelector{Resource: name, Divisor: resource.MustParse(divisor)}}
}

func fromConfigMap(prefix, name string, optional bool) corev1.EnvFromSource {
	return corev1.EnvFromSource{Prefix: prefix, ConfigMapRef: &corev1.ConfigMapEnvSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Optional: &optional,
	}}
}

func fromSecret(prefix, name string, optional bool) corev1.EnvFromSource {
	return corev1.EnvFromSource{Prefix: prefix, SecretRef: &corev1.SecretEnvSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: name}, Optional: &optional,
	}}
}

func TestEnv(t *testing.T) {
	tests := map[string]struct {
		container corev1.Container
		want      []string
		events    []string
	}{
		"the API server is known without service links": {},
		"literals expand what stands before them, services and nothing else": {
			container: corev1.Container{Env: []corev1.EnvVar{
				{Name: "EARLY", Value: "$(LATE)"},
				{Name: "LATE", Value: "$(KUBERNETES_SERVICE_HOST) $$(LATE) $(NOBODY)"},
				{Name: "LAST", Value: "<$(LATE)>"},
			}},
			want: []string{"EARLY=$(LATE)", "LATE=10.96.0.1 $(LATE) $(NOBODY)", "LAST=<10.96.0.1 $(LATE) $(NOBODY)>"},
		},
		"env is stronger than envFrom, and the later source stronger than the former": {
			container: corev1.Container{
				EnvFrom: []corev1.EnvFromSource{fromConfigMap("", "settings", false), fromSecret("", "keys", false)},
				Env:     []corev1.EnvVar{{Name: "SHAPE", Value: "square"}},
			},
			want: []string{"COLOUR=blue", "SHAPE=square", "TOKEN=s3"},
			events: []string{
				"Warning InvalidEnvironmentVariableNames keys [9TH] from configmap shop/settings were skipped since they are invalid as environment variable names",
			},
		},
		"a prefix makes names valid": {
			container: corev1.Container{EnvFrom: []corev1.EnvFromSource{fromConfigMap("P_", "settings", false)}},
			want:      []string{"P_9TH=x", "P_COLOUR=red", "P_SHAPE=round"},
		},
		"a variable of the pod hides a service's": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "KUBERNETES_PORT", Value: "none"}}},
			want:      []string{"KUBERNETES_PORT=none"},
		},
		"values come from keys": {
			container: corev1.Container{Env: []corev1.EnvVar{
				{Name: "A", ValueFrom: key("settings", "COLOUR", false)},
				{Name: "B", ValueFrom: secretKey("keys", "TOKEN", false)},
				{Name: "C", Value: "$(A)-$(B)"},
			}},
			want: []string{"A=red", "B=s3", "C=red-s3"},
		},
		"values from references are not expanded": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: field("metadata.annotations['note']")}}},
			want:      []string{"A=$(B)"},
		},
		"fields of the pod": {
			container: corev1.Container{Env: []corev1.EnvVar{
				{Name: "A", ValueFrom: field("metadata.name")},
				{Name: "B", ValueFrom: field("metadata.namespace")},
				{Name: "C", ValueFrom: field("metadata.uid")},
				{Name: "D", ValueFrom: field("metadata.labels['app']")},
				{Name: "E", ValueFrom: field("spec.nodeName")},
				{Name: "F", ValueFrom: field("spec.serviceAccountName")},
				{Name: "G", ValueFrom: field("status.podIP")},
				{Name: "H", ValueFrom: field("status.hostIPs")},
			}},
			want: []string{"A=web", "B=shop", "C=u1", "D=web", "E=vic-local", "F=robot", "G=10.1.0.2", "H=192.0.2.1"},
		},
		"resources are divided and rounded up, and a missing limit is the node's": {
			container: corev1.Container{
				Resources: corev1.ResourceRequirements{
					Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")},
					Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("100Mi")},
				},
				Env: []corev1.EnvVar{
					{Name: "A", ValueFrom: resourceOf("limits.cpu", "0")},
					{Name: "B", ValueFrom: resourceOf("limits.cpu", "1m")},
					{Name: "C", ValueFrom: resourceOf("requests.memory", "1Mi")},
					{Name: "D", ValueFrom: resourceOf("limits.memory", "1Gi")},
					{Name: "E", ValueFrom: resourceOf("requests.cpu", "1")},
				},
			},
			want: []string{"A=2", "B=1500", "C=100", "D=8", "E=0"},
		},
		"what is optional and absent is left out": {
			container: corev1.Container{
				EnvFrom: []corev1.EnvFromSource{fromSecret("", "gone", true)},
				Env: []corev1.EnvVar{
					{Name: "A", ValueFrom: key("gone", "k", true)}, {Name: "B", ValueFrom: key("settings", "gone", true)}, {Name: "C", Value: "c"},
				},
			},
			want: []string{"C=c"},
			events: []string{
				`Warning OptionalSecretNotFound secret "gone" not found`,
				`Warning OptionalConfigMapNotFound configmap "gone" not found`,
				`Warning OptionalConfigMapKeyNotFound key "gone" does not exist in configmap "settings"`,
			},
		},
		"an empty value is a value": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "A"}}},
			want:      []string{"A="},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			pod := newPod(tt.container)
			pod.Annotations = map[string]string{"note": "$(B)"}
			env, reported, err := resolve(t, newCluster(), pod)
			require.NoError(t, err)
			assert.ElementsMatch(t, hide(master, tt.want), env[:len(env)-len(tt.want)])
			assert.Equal(t, tt.want, append([]string(nil), env[len(env)-len(tt.want):]...), "in order")
			assert.Equal(t, tt.events, reported)
		})
	}
}

// hide drops from all what a variable of own has the name of.
func hide(all, own []string) []string {
	var left []string
	known := environment.Lookup(own)
	for _, e := range all {
		if environment.Expand("$("+name(e)+")", known) == "$("+name(e)+")" {
			left = append(left, e)
		}
	}
	return left
}

func name(e string) string {
	for i := range e {
		if e[i] == '=' {
			return e[:i]
		}
	}
	return e
}

func TestServiceLinksAddTheNamespacesServices(t *testing.T) {
	for _, links := range []*bool{nil, new(true)} {
		pod := newPod(corev1.Container{})
		pod.Spec.EnableServiceLinks = links
		env, _, err := resolve(t, newCluster(), pod)
		require.NoError(t, err)
		require.ElementsMatch(t, append([]string{
			"MY_DB_SERVICE_HOST=10.96.0.3", "MY_DB_SERVICE_PORT=53", "MY_DB_PORT=udp://10.96.0.3:53",
			"MY_DB_PORT_53_UDP=udp://10.96.0.3:53", "MY_DB_PORT_53_UDP_PROTO=udp", "MY_DB_PORT_53_UDP_PORT=53",
			"MY_DB_PORT_53_UDP_ADDR=10.96.0.3",
		}, master...), env)
	}
}

func TestEnvSaysWhatIsMissing(t *testing.T) {
	tests := map[string]struct {
		container corev1.Container
		message   string
		event     string
	}{
		"a config map": {
			container: corev1.Container{EnvFrom: []corev1.EnvFromSource{fromConfigMap("", "gone", false)}},
			message:   `configmap "gone" not found`,
			event:     `Warning MandatoryConfigMapNotFound configmap "gone" not found`,
		},
		"a secret": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: secretKey("gone", "k", false)}}},
			message:   `secret "gone" not found`,
			event:     `Warning MandatorySecretNotFound secret "gone" not found`,
		},
		"a key": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: secretKey("keys", "gone", false)}}},
			message:   "couldn't find key gone in Secret shop/keys",
			event:     `Warning MandatorySecretKeyNotFound key "gone" does not exist in secret "keys"`,
		},
		"a field": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: field("spec.gone")}}},
			message:   "unsupported fieldPath: spec.gone",
		},
		"a container": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{
				ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "gone", Resource: "limits.cpu"},
			}}}},
			message: "container gone not found",
		},
		"a source": {
			container: corev1.Container{Env: []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{}}}},
			message:   "unknown source of a variable",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, reported, err := resolve(t, newCluster(), newPod(tt.container))
			var config *environment.ConfigError
			require.ErrorAs(t, err, &config)
			assert.Equal(t, environment.ReasonCreateContainerConfigError, config.Reason)
			assert.Equal(t, tt.message, config.Message)
			if tt.event != "" {
				assert.Equal(t, []string{tt.event}, reported)
			}
		})
	}
}

func TestAnObjectThatCannotBeReadIsNoAbsence(t *testing.T) {
	c := newCluster()
	c.err = errors.New("server is down")
	_, reported, err := resolve(t, c, newPod(corev1.Container{EnvFrom: []corev1.EnvFromSource{fromConfigMap("", "settings", true)}}))
	require.EqualError(t, err, "server is down")
	require.Equal(t, []string{`Warning FailedToReadOptionalConfigMap failed to read configmap "settings"`}, reported)
}

func TestANulByteIsRefused(t *testing.T) {
	c := newCluster()
	c.secrets["keys"].Data["TOKEN"] = []byte("a\x00b")
	_, _, err := resolve(t, c, newPod(corev1.Container{EnvFrom: []corev1.EnvFromSource{fromSecret("", "keys", false)}}))
	require.EqualError(t, err, "the value of variable TOKEN contains a NUL byte")
}

func TestExpand(t *testing.T) {
	tests := map[string]string{
		"": "", "plain": "plain", "$(A)": "1", "x$(A)y$(B)z": "x1y2z", "$$(A)": "$(A)", "$$$(A)": "$1", "$$$$(A)": "$$(A)",
		"$(NO)": "$(NO)", "$(": "$(", "$(A": "$(A", "$": "$", "a$": "a$", "$A": "$A", "$$": "$", "$()": "$()",
		"$(A)$(": "1$(", "$($(A))": "$($(A))", "$(LOOP)": "$(LOOP)", "foo$$bar": "foo$bar",
	}
	lookup := environment.Lookup([]string{"A=0", "A=1", "B=2", "LOOP=$(LOOP)"})
	for in, want := range tests {
		t.Run(in, func(t *testing.T) {
			require.Equal(t, want, environment.Expand(in, lookup))
		})
	}
}
