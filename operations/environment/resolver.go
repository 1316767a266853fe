package environment

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/record"

	"github.com/virtual-kubelet/vic/operations/downward"
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
type Inputs = downward.Inputs

// Resolver resolves environments. It is safe for concurrent use.
type Resolver struct{ cfg Config }

// New returns a Resolver.
func New(cfg Config) *Resolver { return &Resolver{cfg: cfg} }

// Env returns the environment of c as KEY=VALUE, the image's variables not included. An error that retrying may mend,
// once the objects are there, is a *ConfigError.
func (r *Resolver) Env(ctx context.Context, pod *corev1.Pod, c *corev1.Container, in Inputs) ([]string, error) {
	services, err := r.services(pod)
	if err != nil {
		return nil, fmt.Errorf("list services for pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	read := &reader{Resolver: r, pod: pod, seen: map[reference]map[string]string{}}
	own := newVariables()
	for i := range c.EnvFrom {
		if err := read.envFrom(ctx, &c.EnvFrom[i], own); err != nil {
			return nil, err
		}
	}
	for i := range c.Env {
		e := &c.Env[i]
		value, ok, err := e.Value, true, error(nil)
		switch {
		case value != "":
			value = Expand(value, own.lookup(services))
		case e.ValueFrom != nil:
			value, ok, err = read.valueFrom(ctx, c, e.ValueFrom, in)
		}
		if err != nil {
			return nil, err
		}
		if ok {
			own.set(e.Name, value)
		}
	}
	return list(services, own)
}

// list returns all of own, and before it what of services own does not have. Processes cannot be given a NUL byte.
func list(services, own *variables) ([]string, error) {
	env := make([]string, 0, len(services.names)+len(own.names))
	for _, name := range services.names {
		if !own.has(name) {
			env = append(env, name+"="+services.values[name])
		}
	}
	for _, name := range own.names {
		if strings.ContainsRune(own.values[name], 0) {
			return nil, configError("the value of variable %s contains a NUL byte", name)
		}
		env = append(env, name+"="+own.values[name])
	}
	return env, nil
}

func (r *reader) envFrom(ctx context.Context, from *corev1.EnvFromSource, vars *variables) error {
	switch {
	case from.ConfigMapRef != nil:
		ref := reference{kind: configMap, name: from.ConfigMapRef.Name, optional: isTrue(from.ConfigMapRef.Optional)}
		return r.all(ctx, ref, from.Prefix, vars)
	case from.SecretRef != nil:
		ref := reference{kind: secret, name: from.SecretRef.Name, optional: isTrue(from.SecretRef.Optional)}
		return r.all(ctx, ref, from.Prefix, vars)
	}
	return nil
}

func (r *reader) valueFrom(
	ctx context.Context, c *corev1.Container, from *corev1.EnvVarSource, in Inputs,
) (value string, ok bool, err error) {
	switch {
	case from.FieldRef != nil:
		value, err = downward.Field(r.pod, from.FieldRef, in)
	case from.ResourceFieldRef != nil:
		value, err = downward.Resource(r.pod, c, from.ResourceFieldRef, in)
	case from.ConfigMapKeyRef != nil:
		ref := from.ConfigMapKeyRef
		return r.value(ctx, reference{kind: configMap, name: ref.Name, key: ref.Key, optional: isTrue(ref.Optional)})
	case from.SecretKeyRef != nil:
		ref := from.SecretKeyRef
		return r.value(ctx, reference{kind: secret, name: ref.Name, key: ref.Key, optional: isTrue(ref.Optional)})
	default:
		err = errors.New("unknown source of a variable")
	}
	if err != nil {
		return "", false, configError("%v", err)
	}
	return value, true, nil
}

func isTrue(b *bool) bool { return b != nil && *b }
