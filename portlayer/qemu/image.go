package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/virtual-kubelet/vic/internal/durable"
)

// bootFiles are the VCH's own copies of a guest image, named by digest and readable by every user: QEMU opens them by a
// descriptor that it inherits, as a user of its own.
type bootFiles struct {
	kernel, initrd string
	// digest is of both together.
	digest string
}

// stageImage copies the guest image into the VCH where it is not there yet, and deletes others: QEMU reads them only
// when it starts.
func stageImage(l layout, image GuestImage) (bootFiles, error) {
	kernel, err := stageFile(l, image.Kernel, "kernel")
	if err != nil {
		return bootFiles{}, err
	}
	initrd, err := stageFile(l, image.Initrd, "initrd")
	if err != nil {
		return bootFiles{}, err
	}
	both := sha256.Sum256([]byte(filepath.Base(kernel) + filepath.Base(initrd)))
	return bootFiles{kernel, initrd, hex.EncodeToString(both[:])}, nil
}

func stageFile(l layout, source, kind string) (string, error) {
	f, err := os.Open(source)
	if err != nil {
		return "", fmt.Errorf("guest image's %s: %w", kind, err)
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", fmt.Errorf("guest image's %s: %w", kind, err)
	}
	path := filepath.Join(l.boot(), kind+"-"+hex.EncodeToString(sum.Sum(nil)))
	if _, err := os.Lstat(path); err == nil {
		return path, nil
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return "", fmt.Errorf("guest image's %s: %w", kind, err)
	}
	err = durable.Replace(path, 0o444, func(dst *os.File) error { _, err := io.Copy(dst, f); return err })
	if err != nil {
		return "", fmt.Errorf("copy the guest image's %s: %w", kind, spaceError(err))
	}
	return path, dropOthers(path, kind)
}

func dropOthers(keep, kind string) error {
	old, err := filepath.Glob(filepath.Join(filepath.Dir(keep), kind+"-*"))
	if err != nil {
		return err
	}
	for _, path := range old {
		if path == keep {
			continue
		}
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("delete a former guest image: %w", err)
		}
	}
	return nil
}
