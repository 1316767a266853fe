package downward_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/virtual-kubelet/vic/operations/downward"
)

func TestFieldOfLabelsAndAnnotations(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Labels:      map[string]string{"b": "2", "a": "1"},
		Annotations: map[string]string{"k": "line\nnext \"quoted\"", "x.io/y": "z"},
	}}
	tests := map[string]string{
		"metadata.labels":                "a=\"1\"\nb=\"2\"",
		"metadata.annotations":           "k=\"line\\nnext \\\"quoted\\\"\"\nx.io/y=\"z\"",
		"metadata.annotations['x.io/y']": "z",
		"metadata.labels['a']":           "1",
		"metadata.labels['none']":        "",
	}
	for path, want := range tests {
		t.Run(path, func(t *testing.T) {
			got, err := downward.Field(pod, &corev1.ObjectFieldSelector{FieldPath: path}, downward.Inputs{})
			require.NoError(t, err)
			require.Equal(t, want, got)
		})
	}
}

func TestFieldRefuses(t *testing.T) {
	for _, path := range []string{"", "spec", "metadata.labels['a'", "metadata.name['a']"} {
		_, err := downward.Field(&corev1.Pod{}, &corev1.ObjectFieldSelector{FieldPath: path}, downward.Inputs{})
		require.Error(t, err, path)
	}
}

func TestResource(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{
		Name: "c",
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
			corev1.ResourceMemory: resource.MustParse("1Mi"), corev1.ResourceEphemeralStorage: resource.MustParse("3G"),
		}},
	}}}}
	in := downward.Inputs{NodeAllocatable: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2500m")}}
	tests := map[string]struct {
		resource, divisor, want string
	}{
		"bytes":                   {"limits.memory", "0", "1048576"},
		"a divisor that is more":  {"limits.memory", "1Gi", "1"},
		"scratch space":           {"limits.ephemeral-storage", "1G", "3"},
		"the node's processors":   {"limits.cpu", "1", "3"},
		"thousandths of the same": {"limits.cpu", "1m", "2500"},
		"nothing asked for":       {"requests.memory", "1", "0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ref := &corev1.ResourceFieldSelector{ContainerName: "c", Resource: tt.resource, Divisor: resource.MustParse(tt.divisor)}
			got, err := downward.Resource(pod, nil, ref, in)
			require.NoError(t, err)
			require.Equal(t, tt.want, got)
		})
	}
	for _, bad := range []string{"limits.gpu", "cpu", "wishes.cpu", ""} {
		_, err := downward.Resource(pod, &pod.Spec.Containers[0], &corev1.ResourceFieldSelector{Resource: bad}, in)
		require.Error(t, err, bad)
	}
	_, err := downward.Resource(pod, nil, &corev1.ResourceFieldSelector{Resource: "limits.cpu"}, in)
	require.Error(t, err)
}
