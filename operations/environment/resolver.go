package environment

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"
)

// Objects reads config maps and secrets. What is absent is an error that apierrors.IsNotFound knows. Results are shared
// and must not be changed.
type Objects interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// Services lists the services of a namespace. Results are shared and must not be changed.
type Services interface {
	Services(namespace string) ([]*corev1.Service, error)
}

// Config is what a Resolver needs.
type Config struct {
	Objects  Objects
	Services Services
	Events   record.EventRecorder
}

// Inputs are what a pod's environment may refer to and what is known of it only after its VM runs.
type Inputs struct {
	PodIP  string
	HostIP string
	// NodeAllocatable stands for limits that a container does not have (resourceFieldRef).
	NodeAllocatable corev1.ResourceList
}

// Resolver resolves environments. It is safe for concurrent use.
type Resolver struct{ cfg Config }

// New returns a Resolver.
func New(cfg Config) *Resolver { return &Resolver{cfg: cfg} }

// Env returns the environment of c as KEY=VALUE, the image's variables not included. An error that retrying may mend,
// once the objects are there, is a *ConfigError.
func (r *Resolver) Env(ctx context.Context, pod *corev1.Pod, c *corev1.Container, in Inputs) ([]string, error) {
	return nil, nil
}
