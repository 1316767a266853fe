package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Purge ends every VM of the VCH in dir and removes what belongs to it. It needs neither QEMU's program nor a guest
// image. A VCH that another process has open is refused with portlayer.ErrBusy; one that is not there is no error.
func Purge(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("purge VCH: %w", err)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	h := newHypervisor(Config{Dir: dir})
	defer h.Close()
	uids, err := h.layout.uids()
	if err != nil {
		return fmt.Errorf("purge VCH %s: %w", dir, err)
	}
	for _, uid := range uids {
		err = errors.Join(err, h.Destroy(ctx, uid))
	}
	if err != nil {
		return fmt.Errorf("purge VCH %s: %w", dir, err)
	}
	return nil
}
