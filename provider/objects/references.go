package objects

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// reference names a config map or a secret.
type reference struct {
	secret bool
	name   types.NamespacedName
}

// collector gathers references of one pod, each once.
type collector struct {
	namespace string
	seen      map[reference]struct{}
	all       []reference
}

func (c *collector) add(secret bool, name string) {
	if name == "" {
		return
	}
	r := reference{secret: secret, name: types.NamespacedName{Namespace: c.namespace, Name: name}}
	if _, ok := c.seen[r]; !ok {
		c.seen[r] = struct{}{}
		c.all = append(c.all, r)
	}
}

// referencesOf returns every config map and secret that pod may need, whether or not it exists.
func referencesOf(pod *corev1.Pod) []reference {
	c := &collector{namespace: pod.Namespace, seen: map[reference]struct{}{}}
	for _, s := range pod.Spec.ImagePullSecrets {
		c.add(true, s.Name)
	}
	for i := range pod.Spec.InitContainers {
		c.container(pod.Spec.InitContainers[i].Env, pod.Spec.InitContainers[i].EnvFrom)
	}
	for i := range pod.Spec.Containers {
		c.container(pod.Spec.Containers[i].Env, pod.Spec.Containers[i].EnvFrom)
	}
	for i := range pod.Spec.EphemeralContainers {
		c.container(pod.Spec.EphemeralContainers[i].Env, pod.Spec.EphemeralContainers[i].EnvFrom)
	}
	for i := range pod.Spec.Volumes {
		c.volume(&pod.Spec.Volumes[i])
	}
	return c.all
}

func (c *collector) container(env []corev1.EnvVar, from []corev1.EnvFromSource) {
	for i := range env {
		if env[i].ValueFrom == nil {
			continue
		}
		if r := env[i].ValueFrom.ConfigMapKeyRef; r != nil {
			c.add(false, r.Name)
		}
		if r := env[i].ValueFrom.SecretKeyRef; r != nil {
			c.add(true, r.Name)
		}
	}
	for i := range from {
		if r := from[i].ConfigMapRef; r != nil {
			c.add(false, r.Name)
		}
		if r := from[i].SecretRef; r != nil {
			c.add(true, r.Name)
		}
	}
}

func (c *collector) volume(v *corev1.Volume) {
	if v.ConfigMap != nil {
		c.add(false, v.ConfigMap.Name)
	}
	if v.Secret != nil {
		c.add(true, v.Secret.SecretName)
	}
	if v.Projected == nil {
		return
	}
	for i := range v.Projected.Sources {
		if r := v.Projected.Sources[i].ConfigMap; r != nil {
			c.add(false, r.Name)
		}
		if r := v.Projected.Sources[i].Secret; r != nil {
			c.add(true, r.Name)
		}
	}
}
