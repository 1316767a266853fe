package guestimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/internal/logging"
)

// ErrCorrupt says that a package in the cache differs from its digest and could not be downloaded again.
var ErrCorrupt = errors.New("cached package is corrupt")

// aptFiles are patterns of what apt's answers come from: its lists, which apt-get update replaces, and its settings.
var aptFiles = []string{"/var/lib/apt/lists", "/etc/apt", "/etc/apt/*", "/etc/apt/*/*"}

// debCache keeps .deb files by name, version and digest.
type debCache struct {
	dir string
	// aptFiles are patterns of files; while none of them changes, apt is not asked again.
	aptFiles []string
}

// selection resolves what is to be built. Where apt knows nothing, or can bring nothing, the packages of the build
// before are taken. They are taken without asking apt, which takes seconds, where it can have no other answer.
func (c debCache) selection(ctx context.Context, kernelPackage string, iso bool) (selection, error) {
	changed := c.aptChanged()
	former, ok := c.readIndex(indexName(kernelPackage, iso))
	if ok && former.AptChanged.Equal(changed) && !changed.IsZero() && c.verifyAll(former) == nil {
		return former, nil
	}
	s, err := resolve(ctx, kernelPackage, iso)
	if err == nil {
		err = c.fetch(ctx, s)
	}
	if err == nil {
		s.AptChanged = changed
		return s, c.writeIndex(indexName(kernelPackage, iso), s)
	}
	if !ok {
		return selection{}, err
	}
	if formerErr := c.verifyAll(former); formerErr != nil {
		return selection{}, errors.Join(err, formerErr)
	}
	logging.From(ctx).WarnContext(ctx, "packages of the former build were used", "err", err)
	return former, nil
}

// aptChanged is when the last of c.aptFiles changed; zero where there is none.
func (c debCache) aptChanged() time.Time {
	var last time.Time
	for _, pattern := range c.aptFiles {
		files, _ := filepath.Glob(pattern) // the patterns are good ones
		for _, file := range files {
			if info, err := os.Stat(file); err == nil && info.ModTime().After(last) {
				last = info.ModTime()
			}
		}
	}
	return last
}

// fetch brings every package of s into the cache.
func (c debCache) fetch(ctx context.Context, s selection) error {
	for _, p := range s.all() {
		if err := c.ensure(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

func (c debCache) ensure(ctx context.Context, p Package) error {
	err := c.verify(p)
	if err == nil {
		return nil
	}
	if downloadErr := c.download(ctx, p); downloadErr != nil {
		if errors.Is(err, os.ErrNotExist) {
			return downloadErr
		}
		return errors.Join(err, downloadErr)
	}
	return nil
}

func (c debCache) download(ctx context.Context, p Package) error {
	tmp, err := os.MkdirTemp(c.dir, "download-")
	if err != nil {
		return fmt.Errorf("download %s: %w", p.Name, err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // what is left is in the cache's own directory and harms nothing
	if _, err := command(ctx, tmp, "apt-get", "-q", "download", p.Name+"="+p.Version); err != nil {
		return fmt.Errorf("download %s: %w", p.Name, err)
	}
	debs, err := filepath.Glob(filepath.Join(tmp, "*.deb"))
	if err != nil || len(debs) != 1 {
		return fmt.Errorf("download %s: apt-get left %d packages", p.Name, len(debs))
	}
	if got, err := fileDigest(debs[0]); err != nil || got != p.SHA256 {
		return fmt.Errorf("download %s: digest is %s, want %s: %w", p.Name, got, p.SHA256, errors.Join(ErrCorrupt, err))
	}
	return os.Rename(debs[0], c.path(p))
}

func (c debCache) verifyAll(s selection) error {
	var errs []error
	for _, p := range s.all() {
		errs = append(errs, c.verify(p))
	}
	return errors.Join(errs...)
}

// verify returns os.ErrNotExist for a package that is not in the cache.
func (c debCache) verify(p Package) error {
	got, err := fileDigest(c.path(p))
	if err != nil {
		return fmt.Errorf("look for %s: %w", p.Name, err)
	}
	if got != p.SHA256 {
		return fmt.Errorf("%w: %s has digest %s, want %s", ErrCorrupt, c.path(p), got, p.SHA256)
	}
	return nil
}

func (c debCache) path(p Package) string {
	version := strings.NewReplacer(":", "_", "/", "_").Replace(p.Version)
	return filepath.Join(c.dir, fmt.Sprintf("%s_%s_%.12s.deb", p.Name, version, p.SHA256))
}

// indexName names the index of builds with or without an ISO.
func indexName(kernelPackage string, iso bool) string {
	name := filepath.Base(kernelPackage)
	if iso {
		name += "-iso"
	}
	return name + ".json"
}

func (c debCache) writeIndex(name string, s selection) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return durable.Write(filepath.Join(c.dir, name), b, 0o644)
}

func (c debCache) readIndex(name string) (selection, bool) {
	var s selection
	b, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil || json.Unmarshal(b, &s) != nil || len(s.Runtime) == 0 {
		return selection{}, false
	}
	return s, true
}

func fileDigest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
