// Package oci describes a container to an OCI runtime: it looks up the container's user in its image and makes
// config.json of the runtime specification, with the defaults that Kubernetes' container runtimes have. It touches nothing
// but files of the image.
package oci
