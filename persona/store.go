package persona

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/distribution/reference"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/virtual-kubelet/vic/internal/durable"
)

const diskSuffix = ".ext4"

// Config says where a store is and what it may take in. Only Dir is needed.
type Config struct {
	// Dir is where the store keeps everything; it is made if it is missing.
	Dir string
	// InsecureRegistries are hosts, as host or host:port, that may be spoken to over plain HTTP and with any certificate.
	// One on loopback is no other: a pod could ask services of this machine under the name of an image.
	InsecureRegistries []string
	// Mirrors gives for a registry's host (docker.io) the URL to try before it: https://mirror.example/prefix.
	Mirrors map[string]string
	// RegistryHostsDir has a folder for each registry that needs more, as containerd's certs.d: hosts.toml, or certificates.
	// Empty is none. Its files are read at each pull.
	RegistryHostsDir string
	// Limits bounds what one image may cost.
	Limits Limits
	// Platform is the os/architecture that images must be for; empty means Linux on this machine's architecture.
	Platform string
}

// Store keeps images and their disks. It is safe for concurrent use, also by several processes on one directory.
type Store struct {
	index    index
	disks    string
	work     string
	tried    tried
	memory   *memory
	limits   Limits
	platform v1.Platform
	hosts    *registryHosts
}

// Open opens the store in cfg.Dir, and removes what a crash has left in it.
func Open(cfg Config) (*Store, error) {
	platform, err := v1.ParsePlatform(cmp.Or(cfg.Platform, "linux/"+runtime.GOARCH))
	if err != nil {
		return nil, fmt.Errorf("platform %q: %w", cfg.Platform, err)
	}
	hosts, err := newRegistryHosts(cfg)
	if err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, err
	}
	s := &Store{
		index:    index{dir: dir},
		disks:    filepath.Join(dir, "disks"),
		work:     filepath.Join(dir, "work"),
		tried:    tried{filepath.Join(dir, "tried")},
		memory:   flattening,
		limits:   cfg.Limits.withDefaults(),
		platform: *platform,
		hosts:    hosts,
	}
	for _, d := range []string{s.disks, s.work} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return nil, fmt.Errorf("open image store: %w", err)
		}
	}
	if err := s.sweep(context.Background()); err != nil {
		return nil, fmt.Errorf("clean image store: %w", err)
	}
	return s, nil
}

// Lookup returns an image that is here, by name, by name and digest, by ID, or by a prefix of the ID of 12 digits or more.
// It asks no registry. The error wraps ErrNotFound or ErrInvalidName.
func (s *Store) Lookup(ref string) (Image, error) {
	images, err := s.index.load()
	if err != nil {
		return Image{}, fmt.Errorf("look up image %q: %w", ref, err)
	}
	i, err := find(images, ref)
	if err != nil {
		return Image{}, err
	}
	if _, err := os.Stat(s.diskPath(images[i].DiskDigest)); err != nil {
		return Image{}, fmt.Errorf("look up disk of image %q: %w", ref, missing(err))
	}
	return images[i], nil
}

// idPattern is an image ID, or a digest, or enough of one; sha256: may be left out.
var idPattern = regexp.MustCompile(`^(sha256:)?[0-9a-f]{12,64}$`)

// find returns the place of the image that ref means.
func find(images []Image, ref string) (int, error) {
	named, nameErr := parseName(ref)
	if nameErr == nil {
		name := reference.FamiliarString(named)
		if i := slices.IndexFunc(images, func(img Image) bool { return img.has(name) }); i >= 0 {
			return i, nil
		}
	}
	if idPattern.MatchString(ref) {
		nameErr = nil
		prefix := "sha256:" + strings.TrimPrefix(ref, "sha256:")
		byID := func(img Image) bool { return strings.HasPrefix(img.ID, prefix) || img.Digest == prefix }
		if i := slices.IndexFunc(images, byID); i >= 0 {
			if j := slices.IndexFunc(images[i+1:], byID); j >= 0 && images[i+1+j].ID != images[i].ID {
				return 0, fmt.Errorf("%w: %q means several images", ErrNotFound, ref)
			}
			return i, nil
		}
	}
	if nameErr != nil {
		return 0, nameErr
	}
	return 0, fmt.Errorf("%w: %q", ErrNotFound, ref)
}

// List returns all images, ordered by name; those without a name come last.
func (s *Store) List() ([]Image, error) {
	images, err := s.index.load()
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	images = slices.Clone(images)
	slices.SortStableFunc(images, func(a, b Image) int {
		return cmp.Or(-cmp.Compare(min(1, len(a.Names)), min(1, len(b.Names))), slices.Compare(a.Names, b.Names), cmp.Compare(a.ID, b.ID))
	})
	return images, nil
}

// Source returns the disk of img.
func (s *Store) Source(img Image) Source {
	path := s.diskPath(img.DiskDigest)
	return Source{
		Digest:    img.DiskDigest,
		SizeBytes: img.DiskBytes,
		Open: func() (io.ReadSeekCloser, error) {
			f, err := os.Open(path)
			if err != nil {
				return nil, fmt.Errorf("open disk of image %s: %w", img.ID, missing(err))
			}
			return f, nil
		},
	}
}

// Remove takes away the name ref or, where ref is an ID or the image's last name, the image. A disk goes with the last image
// that has it; a VM that has it open can go on reading. The error wraps ErrNotFound or ErrInvalidName.
func (s *Store) Remove(ctx context.Context, ref string) error {
	err := s.index.update(ctx, func(images []Image) ([]Image, error) {
		i, err := find(images, ref)
		if err != nil {
			return nil, err
		}
		if idPattern.MatchString(ref) && !hasName(images[i], ref) {
			return slices.Delete(images, i, i+1), nil
		}
		images[i] = withoutName(images[i], ref)
		if len(images[i].Names) == 0 {
			images = slices.Delete(images, i, i+1)
		}
		return images, nil
	})
	if err != nil {
		return fmt.Errorf("remove image: %w", err)
	}
	return s.sweep(ctx)
}

func hasName(img Image, ref string) bool {
	named, err := parseName(ref)
	return err == nil && img.has(reference.FamiliarString(named))
}

func withoutName(img Image, ref string) Image {
	named, err := parseName(ref)
	if err != nil {
		return img
	}
	is := func(name string) bool { return name == reference.FamiliarString(named) }
	img.Names = slices.DeleteFunc(slices.Clone(img.Names), is)
	img.RepoDigests = slices.DeleteFunc(slices.Clone(img.RepoDigests), is)
	return img
}

// sweep removes what no image needs and nobody is working on.
func (s *Store) sweep(ctx context.Context) error {
	left, err := os.ReadDir(s.work)
	if err != nil {
		return err
	}
	err = errors.Join(durable.Sweep(s.index.dir), s.tried.sweep())
	for _, w := range left {
		err = errors.Join(err, s.ifIdle(w.Name(), func() error { return nil }))
	}
	return errors.Join(err, s.index.update(ctx, func(images []Image) ([]Image, error) {
		return images, s.sweepDisks(images)
	}))
}

// sweepDisks runs under the index' lock. A conversion holds its folder's lock until the index has its image, so a disk that
// nobody mentions and nobody works on is left over.
func (s *Store) sweepDisks(images []Image) error {
	disks, err := os.ReadDir(s.disks)
	if err != nil {
		return err
	}
	for _, d := range disks {
		name := strings.TrimSuffix(d.Name(), diskSuffix)
		if slices.ContainsFunc(images, func(img Image) bool { return workName(img.DiskDigest) == name }) {
			continue
		}
		err = errors.Join(err, s.ifIdle(name, func() error { return removeIfThere(filepath.Join(s.disks, d.Name())) }))
	}
	return err
}

// ifIdle calls fn, and empties the folder name in work/, unless somebody is working in it.
func (s *Store) ifIdle(name string, fn func() error) error {
	w, err := tryWorkDir(filepath.Join(s.work, name))
	if w == nil || err != nil {
		return err
	}
	return errors.Join(fn(), w.release())
}

// workName is a digest as a file's name.
func workName(digest string) string { return strings.ReplaceAll(digest, ":", "-") }

func (s *Store) diskPath(digest string) string {
	return filepath.Join(s.disks, workName(digest)+diskSuffix)
}

// missing makes of a file that is not there an image that is not there.
func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

func sha256String(sum []byte) string { return "sha256:" + hex.EncodeToString(sum) }
