package persona

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/virtual-kubelet/vic/internal/durable"
)

const (
	// maxTries is how often a large image may end the process that flattens it.
	maxTries = 2
	// triedFor is how long such an image is refused.
	triedFor = time.Hour
)

// tried remembers the large images that are being flattened, so that one that takes the process with it is not tried for ever.
// It has a file for each, with a byte for each try that has not ended. The caller holds the image's work folder.
type tried struct{ dir string }

func (t tried) path(disk string) string { return filepath.Join(t.dir, workName(disk)) }

// check refuses a disk that was tried too often, with ErrTooLarge.
func (t tried) check(disk string) error {
	info, err := os.Stat(t.path(disk))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	again := info.ModTime().Add(triedFor)
	if info.Size() < maxTries || time.Now().After(again) {
		return nil
	}
	return fmt.Errorf("%w: vic ended %d times while it flattened the image, and does not try it again before %s; "+
		"lower limits of images refuse what it has no memory for", ErrTooLarge, info.Size(), again.UTC().Format(time.RFC3339))
}

// begin writes down that disk is being tried, to stay.
func (t tried) begin(disk string) (err error) {
	if err := os.MkdirAll(t.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(t.path(disk), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write([]byte{'.'}); err != nil {
		return err
	}
	return errors.Join(f.Sync(), durable.SyncDir(t.dir))
}

// end forgets disk: whether it was made or not, the process lives.
func (t tried) end(disk string) error { return removeIfThere(t.path(disk)) }

// sweep forgets what is too old to be refused.
func (t tried) sweep() error {
	entries, err := os.ReadDir(t.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if info, infoErr := e.Info(); infoErr == nil && time.Since(info.ModTime()) > triedFor {
			err = errors.Join(err, removeIfThere(filepath.Join(t.dir, e.Name())))
		}
	}
	return err
}
