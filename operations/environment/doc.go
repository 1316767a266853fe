// Package environment resolves what a container's environment refers to: config maps, secrets, fields of the pod,
// resources and services, in the kubelet's order and with its semantics.
//
// The order of precedence, from weak to strong, is services, envFrom, env. $(VAR) in a value of env refers to what
// stands before it, to envFrom and to services; $$ is a dollar sign, and a reference to nothing stays as it is written.
// The image's own variables are weaker than all of these and join later (package plan).
//
// A container whose environment cannot be resolved is not run; the reason is a [ConfigError]. Objects that are missing
// are reported as events with Virtual Kubelet's reasons, whether or not they are optional.
//
//	r := environment.New(environment.Config{Objects: objects, Services: services, Events: events})
//	env, err := r.Env(ctx, pod, &pod.Spec.Containers[0], environment.Inputs{PodIP: "10.0.0.2"})
package environment
