// Package keyring chooses the credentials for an image from what a Docker configuration holds, as the kubelet does: several
// files, keys that are hosts with or without a port and a path, and globs for parts of a host.
//
//	var k keyring.Keyring
//	err := k.AddConfigJSON(secret.Data[".dockerconfigjson"], string(secret.UID))
//	...
//	img, err := store.Pull(ctx, name, persona.PullOptions{Auth: k.Lookup(name)})
//
// No error of this package quotes what it read, since that holds passwords.
package keyring
