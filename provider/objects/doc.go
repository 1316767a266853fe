// Package objects reads what pods of one node refer to: config maps, secrets, services, claims and persistent volumes.
//
// A config map or secret is watched from the time that the first registered pod refers to it until the last one is
// gone, one watch each, selected by name: neither all of a cluster's secrets are held, nor is the right to list them
// needed. An immutable one is read once. Services, whose names become environment variables, are watched in all
// namespaces. Claims and persistent volumes, which matter when a pod's VM begins, are asked for: a node may get those of its
// pods, and neither list nor watch them.
//
//	o := objects.New(client)
//	go o.Run(ctx)
//	o.Register(pod)
//	configMap, err := o.ConfigMap(ctx, "default", "settings")
//
// Objects is safe for concurrent use. What it returns is shared: callers must not change it.
package objects
