package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Purge ends every VM of the VCH in dir and deletes the directory; one that is not there is no error. It needs neither
// QEMU nor a guest image. A VM that another process holds makes it ErrBusy, and then the directory stays.
func Purge(ctx context.Context, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("purge VCH: %w", err)
	}
	h := newHypervisor(Config{Dir: dir})
	defer h.Close()
	uids, err := h.layout.uids()
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("purge VCH %s: %w", dir, err)
	}
	for _, uid := range uids {
		err = errors.Join(err, h.Destroy(ctx, uid))
	}
	if err != nil {
		return fmt.Errorf("purge VCH %s: %w", dir, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("purge VCH %s: %w", dir, err)
	}
	return nil
}
