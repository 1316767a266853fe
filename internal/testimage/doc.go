// Package testimage builds small container images from files of this machine, without a container runtime: the image hello of
// the examples, and whatever the tests need. The same files give the same bytes, so an image's digest can be relied on.
//
// It also runs a registry on loopback, with the images in memory.
//
//	files, err := testimage.Busybox("/usr/bin/busybox")
//	...
//	img, err := testimage.Build(testimage.Spec{Layers: [][]testimage.File{files}, Config: v1.Config{Cmd: []string{"sh"}}})
//	...
//	err = testimage.WriteDockerSave(img, "shell:latest", "shell.tar")
package testimage
