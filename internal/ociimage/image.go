package ociimage

import (
	"archive/tar"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is one name in an image. A name that ends in a slash is a directory, one with a Link a symbolic link.
type File struct {
	// Name is the path in the image; directories above it need no File of their own.
	Name string
	// Source is a file of this machine to take the contents from, instead of Content.
	Source  string
	Content []byte
	Link    string
	// Mode is 0644 for a file and 0755 for a directory if it is zero. It may have the set-id and sticky bits, as chmod has.
	Mode     int64
	UID, GID int
}

// Spec says what an image holds and how it is run.
type Spec struct {
	// Layers are the files layer by layer, lowest first. A name with the prefix .wh. removes one from the layers below.
	Layers [][]File
	Config v1.Config
	// Platform is linux/amd64 if it is nil.
	Platform *v1.Platform
	// Compression of the layers is none if it is empty.
	Compression compression.Compression
}

// Build returns the image that spec describes. Every time in it is the start of 1970.
func Build(spec Spec) (v1.Image, error) {
	platform := cmp.Or(spec.Platform, &v1.Platform{OS: "linux", Architecture: "amd64"})
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{
		OS: platform.OS, Architecture: platform.Architecture, Variant: platform.Variant,
		Created: v1.Time{Time: time.Unix(0, 0).UTC()},
		Config:  spec.Config,
		RootFS:  v1.RootFS{Type: "layers"},
	})
	if err != nil {
		return nil, err
	}
	for i, files := range spec.Layers {
		l, err := buildLayer(files, spec.Compression)
		if err != nil {
			return nil, fmt.Errorf("layer %d: %w", i+1, err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			return nil, err
		}
	}
	return img, nil
}

func buildLayer(files []File, c compression.Compression) (v1.Layer, error) {
	content, err := layerTar(files)
	if err != nil {
		return nil, err
	}
	if c == "" || c == compression.None {
		return static.NewLayer(content, types.DockerUncompressedLayer), nil
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	return tarball.LayerFromOpener(open, tarball.WithCompression(c))
}

func layerTar(files []File) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{".": true, "/": true}
	for _, f := range slices.SortedStableFunc(slices.Values(files), byName) {
		if err := writeParents(w, made, f.Name); err != nil {
			return nil, err
		}
		if err := writeFile(w, f); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		if strings.HasSuffix(f.Name, "/") {
			made[strings.Trim(f.Name, "/")] = true
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func byName(a, b File) int {
	return strings.Compare(strings.Trim(a.Name, "/"), strings.Trim(b.Name, "/"))
}

// writeParents writes the directories above name that have not been written.
func writeParents(w *tar.Writer, made map[string]bool, name string) error {
	dir := path.Dir(strings.Trim(name, "/"))
	if made[dir] {
		return nil
	}
	if err := writeParents(w, made, dir); err != nil {
		return err
	}
	made[dir] = true
	return writeFile(w, File{Name: dir + "/"})
}

func writeFile(w *tar.Writer, f File) error {
	content := f.Content
	if f.Source != "" {
		var err error
		if content, err = os.ReadFile(f.Source); err != nil {
			return err
		}
	}
	hdr := &tar.Header{
		Typeflag: tar.TypeReg, Name: strings.TrimPrefix(f.Name, "/"), Mode: cmp.Or(f.Mode, 0o644), Uid: f.UID, Gid: f.GID,
		Size: int64(len(content)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
	}
	switch {
	case strings.HasSuffix(f.Name, "/"):
		hdr.Typeflag, hdr.Mode = tar.TypeDir, cmp.Or(f.Mode, 0o755)
	case f.Link != "":
		hdr.Typeflag, hdr.Linkname, hdr.Mode = tar.TypeSymlink, f.Link, 0o777
	}
	if err := w.WriteHeader(hdr); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
