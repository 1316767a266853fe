package qemu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/portlayer"
)

// writeJSON replaces a file in one step: after a crash there is the old content or the new one.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", filepath.Base(path), err)
	}
	if err := durable.Write(path, b, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(path), spaceError(err))
	}
	return nil
}

func readJSON(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}

// copySparse copies src and leaves holes where it is zero.
func copySparse(dst *os.File, src io.Reader) (int64, error) {
	var size int64
	block := make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(src, block)
		if n > 0 && !allZero(block[:n]) {
			if _, err := dst.WriteAt(block[:n], size); err != nil {
				return size, err
			}
		}
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return size, dst.Truncate(size)
		}
		if err != nil {
			return size, err
		}
	}
}

func allZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// spaceError makes a full disk, quota or file system limit one of the port layer's kinds.
func spaceError(err error) error {
	if err == nil || errors.Is(err, portlayer.ErrOutOfSpace) {
		return err
	}
	for _, full := range []error{unix.ENOSPC, unix.EDQUOT, unix.EFBIG} {
		if errors.Is(err, full) {
			return fmt.Errorf("%w: %w", portlayer.ErrOutOfSpace, err)
		}
	}
	return err
}
