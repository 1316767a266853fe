// Package testregistry runs a registry on loopback for tests, with the images in memory: over HTTP or TLS, with the
// authentication that a test wants, and a certificate authority that nobody trusts by itself.
//
//	r, err := testregistry.Start(ctx, testregistry.BasicAuth("me", "secret"))
//	...
//	ref, err := r.Push(ctx, "team/app:1", img)
package testregistry
