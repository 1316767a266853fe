package ociimage

import (
	"fmt"
	"os"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/virtual-kubelet/vic/internal/durable"
)

// WriteDockerSave writes img, called ref, to the file path as docker save would. The file appears when it is complete.
func WriteDockerSave(img v1.Image, ref, path string) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return err
	}
	if err := durable.Replace(path, 0o644, func(f *os.File) error { return tarball.Write(tag, img, f) }); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// WriteLayout writes img, called ref, as an OCI layout to the folder dir.
func WriteLayout(img v1.Image, ref, dir string) error {
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return l.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": ref}))
}
