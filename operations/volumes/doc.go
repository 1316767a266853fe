// Package volumes turns configMap, secret, downwardAPI and projected volumes into the files that a guest keeps in them, and
// finds the disks that claims stand for.
//
// A volume's files are always delivered as a whole, and replaced as a whole when anything changes; the guest swaps them
// in one step. A service-account token is requested for exactly the pod that mounts it, cached until it is due for
// renewal, and never written anywhere but into the guest's memory.
//
//	r := volumes.New(volumes.Config{Objects: objects, Client: client, NodeName: "vic-local", Events: events})
//	files, refresh, err := r.Files(ctx, pod, &pod.Spec.Volumes[0], volumes.Inputs{PodIP: "10.0.0.2"})
package volumes
