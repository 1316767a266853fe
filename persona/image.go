package persona

import (
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Image describes one image of the store. Its slices and maps are shared: read, don't write.
type Image struct {
	// Names are the tags that mean this image, in Docker's short form: hello:latest. There is none once a tag has moved on.
	Names []string `json:"names,omitempty"`
	// RepoDigests are the names by digest under which the image was pulled: hello@sha256:…
	RepoDigests []string `json:"repoDigests,omitempty"`
	// Grants say by repository, such as docker.io/library/hello, who may have the image.
	Grants map[string]Grant `json:"grants,omitempty"`
	// Digest is that of the manifest, "sha256:…". An archive of docker save has no manifest, so one is made up from it.
	Digest string `json:"digest"`
	// ID is the digest of the image's configuration, "sha256:…".
	ID string `json:"id"`
	// DiskDigest names the image's disk, "sha256:…".
	DiskDigest string `json:"diskDigest"`
	// SizeBytes is the size of configuration and layers as they came, mostly compressed.
	SizeBytes int64 `json:"sizeBytes"`
	// DiskBytes is the size of the disk.
	DiskBytes int64 `json:"diskBytes"`
	// Config says how to run the image.
	Config ImageConfig `json:"config"`
	// Platform is written os/architecture, as in linux/amd64.
	Platform string `json:"platform"`
	// Created is when the image was built, by its own account.
	Created time.Time `json:"created"`
}

// ImageConfig is the part of an image's configuration that says how to run it (OCI image specification, config.md).
type ImageConfig struct {
	Entrypoint []string          `json:"entrypoint,omitempty"`
	Cmd        []string          `json:"cmd,omitempty"`
	Env        []string          `json:"env,omitempty"`
	User       string            `json:"user,omitempty"`
	WorkingDir string            `json:"workingDir,omitempty"`
	StopSignal string            `json:"stopSignal,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	// ExposedPorts are written port/protocol, as in 8080/tcp, in order.
	ExposedPorts []string `json:"exposedPorts,omitempty"`
	// Volumes are the directories that the image wants to be volumes, in order.
	Volumes []string `json:"volumes,omitempty"`
}

// Source is a disk that can be read. It stays valid while its image is in the store.
type Source struct {
	// Digest names the disk: the same digest, the same disk. It is not a checksum of the bytes.
	Digest    string
	SizeBytes int64
	// Open returns a reader at the start of the disk, which the caller closes. Where it is an *os.File, the file is
	// read-only and may be shared, as by handing on the descriptor. Open is safe for concurrent use.
	Open func() (io.ReadSeekCloser, error)
}

// has reports whether the image goes by name, which is in Docker's short form.
func (i Image) has(name string) bool {
	if slices.Contains(i.Names, name) || slices.Contains(i.RepoDigests, name) {
		return true
	}
	repo, digest, byDigest := strings.Cut(name, "@")
	return byDigest && digest == i.Digest && slices.ContainsFunc(i.Names, func(n string) bool {
		at := strings.LastIndexByte(n, ':')
		return at >= 0 && n[:at] == repo
	})
}

func configOf(c *v1.Config) ImageConfig {
	return ImageConfig{
		Entrypoint:   c.Entrypoint,
		Cmd:          c.Cmd,
		Env:          c.Env,
		User:         c.User,
		WorkingDir:   c.WorkingDir,
		StopSignal:   c.StopSignal,
		Labels:       c.Labels,
		ExposedPorts: slices.Sorted(maps.Keys(c.ExposedPorts)),
		Volumes:      slices.Sorted(maps.Keys(c.Volumes)),
	}
}
