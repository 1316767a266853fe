// Package cache keeps the last known pods and their statuses in memory: operations writes it, provider reads it.
//
// Everything is kept by UID. A name is only an index to the newest pod that had it: a pod that comes back under the same
// name is another pod, and from then on the older one is found by its UID alone. What is here can be rebuilt: pods come
// from the API server, and at start the identities of pods come from the pod VMs that the host holds ([Pods.Restore]).
//
//	pods := cache.New()
//	pods.SetPod(pod)
//	stop := pods.Subscribe(func(e cache.Entry) { notify(e.Pod) })
//	pods.SetStatus(pod.UID, status)
//
// A [Pods] is safe for concurrent use. It copies what it takes and what it gives.
package cache
