// Package ociimage builds small container images from files of this machine, without a container runtime: the image that the
// Helm chart runs, the image hello of the examples, and whatever the tests need. The same files give the same bytes, so an
// image's digest can be relied on.
//
//	files, err := ociimage.Busybox(ctx, "/usr/bin/busybox")
//	...
//	img, err := ociimage.Build(ociimage.Spec{Layers: [][]ociimage.File{files}, Config: v1.Config{Cmd: []string{"sh"}}})
//	...
//	err = ociimage.WriteDockerSave(img, "shell:latest", "shell.tar")
package ociimage
