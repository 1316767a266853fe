// Command vic-image writes the image that the Helm chart runs as an archive for docker load, ctr and skopeo: vic alone, and the
// authorities that this machine trusts. It is a build tool.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/virtual-kubelet/vic/internal/ociimage"
)

// user is the one that distroless images call nonroot.
const user = 65532

type options struct{ vic, authorities, output, name string }

func main() {
	var o options
	flag.StringVar(&o.vic, "vic", "", "`FILE` of vic, linked statically (needed)")
	flag.StringVar(&o.authorities, "authorities", "/etc/ssl/certs/ca-certificates.crt", "`FILE` of the certificates that vic trusts")
	flag.StringVar(&o.output, "o", "", "`FILE` of the archive to write (needed)")
	flag.StringVar(&o.name, "name", "vic:latest", "name of the image")
	flag.Parse()
	if err := write(o); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "vic-image:", err) // nobody else would see it
		os.Exit(1)
	}
}

func write(o options) error {
	if o.vic == "" || o.output == "" {
		return errors.New("-vic and -o are needed")
	}
	img, err := ociimage.Build(spec(o))
	if err != nil {
		return fmt.Errorf("build image: %w", err)
	}
	return ociimage.WriteDockerSave(img, o.name, o.output)
}

func spec(o options) ociimage.Spec {
	return ociimage.Spec{
		Layers: [][]ociimage.File{
			{
				{Name: "/etc/ssl/certs/ca-certificates.crt", Source: o.authorities},
				{Name: "/etc/passwd", Content: fmt.Appendf(nil, "vic:x:%d:%d:vic:/var/lib/vic:/none\n", user, user)},
				{Name: "/tmp/", Mode: 0o1777},
				{Name: "/var/lib/vic/", Mode: 0o700, UID: user, GID: user},
			},
			{{Name: "/vic", Source: o.vic, Mode: 0o755}},
		},
		Config: v1.Config{Entrypoint: []string{"/vic"}, User: strconv.Itoa(user), Env: []string{"PATH=/"}},
	}
}
