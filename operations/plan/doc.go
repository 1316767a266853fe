// Package plan turns a pod into what its VM and its guest need: the VM's size, the shared part of the pod, each container, and
// what a former boot of the VM leaves to the next.
//
// Everything here is a pure function of its arguments; nothing waits and nothing is kept. The pod is one that package
// fields has admitted.
//
//	size, scratch := plan.Size(pod, plan.StandardDefaults())
//	dns, warning := plan.DNS(pod, cluster, host)
//	shared, err := plan.Pod(pod, plan.PodInputs{DNS: dns, PodIP: ip, Seeds: plan.Seeds(pod, former, status)})
//	container, err := plan.Container(pod, plan.Members(pod)[0], plan.ContainerInputs{Image: image, Env: env})
package plan
