package persona

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/internal/filelock"
)

const indexVersion = 1

// indexFile is index.json.
type indexFile struct {
	Version int     `json:"version"`
	Images  []Image `json:"images"`
}

// index is the list of images, which processes share through a file that is only ever replaced as a whole.
type index struct {
	dir string

	mu     sync.Mutex // guards seen and images
	seen   os.FileInfo
	images []Image
}

func (x *index) path() string { return filepath.Join(x.dir, "index.json") }

// load returns the images as the file has them now. The caller must not change the slice.
func (x *index) load() ([]Image, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	now, err := os.Stat(x.path())
	if errors.Is(err, fs.ErrNotExist) {
		x.seen, x.images = nil, nil
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if x.seen != nil && os.SameFile(x.seen, now) && x.seen.ModTime().Equal(now.ModTime()) && x.seen.Size() == now.Size() {
		return x.images, nil
	}
	images, err := readIndex(x.path())
	if err != nil {
		return nil, err
	}
	// The file may have been replaced since it was looked at; then it is read once more next time.
	x.seen, x.images = now, images
	return images, nil
}

func readIndex(path string) ([]Image, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var f indexFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if f.Version != indexVersion {
		return nil, fmt.Errorf("read %s: version %d, not %d", path, f.Version, indexVersion)
	}
	return f.Images, nil
}

// update replaces the images by what change makes of them. No other process or goroutine comes in between. change may keep
// or alter the slice that it is given.
func (x *index) update(ctx context.Context, change func([]Image) ([]Image, error)) (err error) {
	lock, err := filelock.Take(ctx, filepath.Join(x.dir, "index.lock"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	images, err := readIndex(x.path())
	if err != nil {
		return err
	}
	before := slices.Clone(images)
	if images, err = change(images); err != nil {
		return err
	}
	b, err := json.MarshalIndent(indexFile{Version: indexVersion, Images: images}, "", "  ")
	if err != nil {
		return err
	}
	if old, err := json.MarshalIndent(indexFile{Version: indexVersion, Images: before}, "", "  "); err == nil && string(old) == string(b) {
		return nil
	}
	return durable.Write(x.path(), b, 0o600)
}

func removeIfThere(name string) error {
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
