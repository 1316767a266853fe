package objects_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/virtual-kubelet/vic/provider/objects"
)

const (
	settle = 10 * time.Second
	poll   = 2 * time.Millisecond
)

func start(t *testing.T, client *fake.Clientset) *objects.Objects {
	t.Helper()
	o := objects.New(client)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		o.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return o
}

func configMap(name, value string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name}, Data: map[string]string{"k": value}}
}

func podWith(uid types.UID, configMaps ...string) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: string(uid), UID: uid}}
	for _, name := range configMaps {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{VolumeSource: corev1.VolumeSource{
			ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: name}},
		}})
	}
	return pod
}

// count says how often something was done to config maps.
func count(client *fake.Clientset, verb, resource string) int {
	n := 0
	for _, a := range client.Actions() {
		if a.Matches(verb, resource) {
			n++
		}
	}
	return n
}

func TestReferredObjectsAreWatched(t *testing.T) {
	client := fake.NewClientset(configMap("a", "1"))
	o := start(t, client)
	o.Register(podWith("1", "a"))
	o.Register(podWith("2", "a"))
	got, err := o.ConfigMap(t.Context(), "n", "a")
	require.NoError(t, err)
	assert.Equal(t, "1", got.Data["k"])

	_, err = client.CoreV1().ConfigMaps("n").Update(t.Context(), configMap("a", "2"), metav1.UpdateOptions{})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got, err := o.ConfigMap(t.Context(), "n", "a")
		return err == nil && got.Data["k"] == "2"
	}, settle, poll, "a change is seen")
	assert.Zero(t, count(client, "get", "configmaps"), "nobody asks for what is watched")
	assert.Equal(t, 1, count(client, "watch", "configmaps"), "one watch is enough for two pods")
	for _, a := range client.Actions() {
		if w, ok := a.(clienttesting.WatchActionImpl); ok && w.Resource.Resource == "configmaps" {
			assert.Equal(t, "metadata.name=a", w.WatchRestrictions.Fields.String())
		}
	}
}

func TestObjectsAreWatchedAsLongAsAPodRefersToThem(t *testing.T) {
	client := fake.NewClientset(configMap("a", "1"), configMap("b", "1"))
	o := start(t, client)
	read := func() (gets int) {
		t.Helper()
		before := count(client, "get", "configmaps")
		_, err := o.ConfigMap(t.Context(), "n", "a")
		require.NoError(t, err)
		return count(client, "get", "configmaps") - before
	}
	assert.Equal(t, 1, read(), "what nobody refers to is asked for")
	o.Register(podWith("1", "a"))
	o.Register(podWith("2", "a"))
	assert.Zero(t, read())
	o.Unregister("1")
	o.Unregister("1")
	assert.Zero(t, read(), "the other pod is still there")
	o.Register(podWith("2", "b"))
	assert.Equal(t, 1, read(), "it refers to something else now")
	o.Unregister("unknown")
}

func TestMissingObject(t *testing.T) {
	client := fake.NewClientset()
	o := start(t, client)
	o.Register(podWith("1", "a"))
	_, err := o.ConfigMap(t.Context(), "n", "a")
	assert.True(t, apierrors.IsNotFound(err))
	_, err = o.Secret(t.Context(), "n", "a")
	assert.True(t, apierrors.IsNotFound(err))

	_, err = client.CoreV1().ConfigMaps("n").Create(t.Context(), configMap("a", "late"), metav1.CreateOptions{})
	require.NoError(t, err)
	got, err := o.ConfigMap(t.Context(), "n", "a")
	require.NoError(t, err, "it is found at once, also where the watch is behind")
	assert.Equal(t, "late", got.Data["k"])
}

func TestImmutableObjectIsReadOnce(t *testing.T) {
	yes := true
	fixed := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "s"}, Immutable: &yes, Data: map[string][]byte{"k": []byte("v")},
	}
	o := start(t, fake.NewClientset(fixed))
	pod := podWith("1")
	pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "s"}}
	o.Register(pod)
	for range 3 {
		got, err := o.Secret(t.Context(), "n", "s")
		require.NoError(t, err)
		assert.Equal(t, "v", string(got.Data["k"]))
	}
}

func TestEverythingThatAPodRefersTo(t *testing.T) {
	local := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	env := func(cm, secret string) []corev1.EnvVar {
		return []corev1.EnvVar{
			{Name: "literal", Value: "x"},
			{ValueFrom: &corev1.EnvVarSource{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: local(cm)}}},
			{ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: local(secret)}}},
		}
	}
	from := func(cm, secret string) []corev1.EnvFromSource {
		return []corev1.EnvFromSource{
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local(cm)}},
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local(secret)}},
		}
	}
	client := fake.NewClientset()
	o := start(t, client)
	o.Register(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", UID: "1"},
		Spec: corev1.PodSpec{
			ImagePullSecrets: []corev1.LocalObjectReference{local("pull"), local("")},
			InitContainers:   []corev1.Container{{Env: env("c1", "s1"), EnvFrom: from("c2", "s2")}},
			Containers:       []corev1.Container{{Env: env("c3", "s3"), EnvFrom: from("c4", "s4")}, {Env: env("c3", "s3")}},
			EphemeralContainers: []corev1.EphemeralContainer{{
				EphemeralContainerCommon: corev1.EphemeralContainerCommon{Env: env("c5", "s5"), EnvFrom: from("c6", "s6")},
			}},
			Volumes: []corev1.Volume{
				{VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				{VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: local("c7")}}},
				{VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s7"}}},
				{VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
					{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: local("c8")}},
					{Secret: &corev1.SecretProjection{LocalObjectReference: local("s8")}},
				}}}},
			},
		},
	})
	require.Eventually(t, func() bool {
		return count(client, "watch", "configmaps") == 8 && count(client, "watch", "secrets") == 9
	}, settle, poll)
}

func TestServices(t *testing.T) {
	client := fake.NewClientset(
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "a"}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "b"}},
	)
	_, err := objects.New(client).Services("n")
	assert.True(t, apierrors.IsServiceUnavailable(err), "they are not known before Run")

	o := start(t, client)
	require.Eventually(t, func() bool {
		services, err := o.Services("n")
		return err == nil && len(services) == 1 && services[0].Name == "a"
	}, settle, poll)
}
