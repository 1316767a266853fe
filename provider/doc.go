// Package provider makes a virtual container host (VCH) a node of a cluster. It answers Virtual Kubelet: copies go in,
// errors come out in the form that Virtual Kubelet looks for, and nothing is decided here.
//
// A [Node] is the whole: it registers and renews the Node object and its lease, watches the pods that are bound to it,
// writes their statuses, deletes the API objects of pods that have ended, and serves the kubelet's API.
//
//	n, err := provider.New(provider.Config{Name: "vic-local", Clients: clients, Manager: manager, Pods: pods, …})
//	go n.Run(ctx)
//	<-n.Ready()
//
// # What Virtual Kubelet does, and what is done beside it
//
// Virtual Kubelet's pod controller knows a pod by namespace and name, and skips or repeats calls to a provider. So what
// should run reaches operations by a watch of our own, keyed by UID ([Manager]); CreatePod, UpdatePod and DeletePod only
// wake the same pod once more. Virtual Kubelet keeps writing statuses, through a client that
//
//   - patches the status with the UID as precondition, so that no label that a user just set is undone and no status of
//     a former pod reaches one that came back under its name;
//   - deletes a pod only when operations says that nothing of it runs; Virtual Kubelet would delete it at once when it
//     is still in an init container, and otherwise never before its grace period is over.
//
// Its queues are given rate limiters that only slow down failures, and never give up.
//
// Below it, kubeletapi is the HTTPS server, certs its certificate, usage what pods and the node use, and objects the config
// maps, secrets, services and claims that pods of this node refer to.
package provider
