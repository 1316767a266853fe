// Package objects reads what pods of one node refer to: config maps, secrets and services.
//
// A config map or secret is watched from the time that the first registered pod refers to it until the last one is
// gone, one watch each, selected by name: neither all of a cluster's secrets are held, nor is the right to list them
// needed. An immutable one is read once. Services, whose names become environment variables, are watched in all
// namespaces.
//
//	o := objects.New(client)
//	go o.Run(ctx)
//	o.Register(pod)
//	configMap, err := o.ConfigMap(ctx, "default", "settings")
//
// Objects is safe for concurrent use. What it returns is shared and not to be changed.
package objects
