//go:build e2e

package e2e_test

import (
	"context"
	"os/exec"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/stretchr/testify/require"

	"github.com/virtual-kubelet/vic/internal/ociimage"
	"github.com/virtual-kubelet/vic/internal/testregistry"
)

// testImage is the name under which clusters import the image: busybox and testpod.
const testImage = "vic-e2e:1"

// registryImage is the same image's name in the registry on loopback.
var registryImage string

// builtImage is what buildImage made.
var builtImage v1.Image

func buildImage(dir, archive string) error {
	ctx := context.Background()
	testpod := filepath.Join(dir, "testpod")
	build := exec.Command("go", "build", "-ldflags", "-s -w", "-o", testpod, "./testpod")
	build.Env = append(build.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return &exec.Error{Name: string(out), Err: err}
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	files, err := ociimage.Busybox(ctx, busybox)
	if err != nil {
		return err
	}
	builtImage, err = ociimage.Build(ociimage.Spec{
		Layers: [][]ociimage.File{append(files,
			ociimage.File{Name: "/testpod", Source: testpod, Mode: 0o755},
			ociimage.File{Name: "/tmp/", Mode: 0o1777},
			ociimage.File{Name: "/etc/passwd", Content: []byte("root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")},
			ociimage.File{Name: "/etc/group", Content: []byte("root:x:0:\nnogroup:x:65534:\n")},
		)},
		Config: v1.Config{Cmd: []string{"/bin/sh"}, Env: []string{"PATH=/bin:/usr/bin:/sbin:/usr/sbin"}},
	})
	if err != nil {
		return err
	}
	return ociimage.WriteDockerSave(builtImage, testImage, archive)
}

// serveImage puts the image into a registry on loopback and returns what stops that.
func serveImage(t testContext) func() {
	registry, err := testregistry.Start(context.Background(), nil)
	require.NoError(t, err)
	registryImage, err = registry.Push(context.Background(), "library/e2e:1", builtImage)
	require.NoError(t, err)
	return func() { require.NoError(t, registry.Close()) }
}
