// Package imagecmd is the commands vic image, on the image store of a state directory.
package imagecmd
