package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/virtual-kubelet/vic/internal/ctxio"
	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/portlayer"
)

// EnsureDisk makes the image's disk: a hard link to the source where both are on one file system, else a sparse copy.
func (h *Hypervisor) EnsureDisk(ctx context.Context, src portlayer.DiskSource) (portlayer.DiskRef, error) {
	ref := strings.TrimPrefix(src.Digest, "sha256:") + ".ext4"
	if !validRef.MatchString(ref) {
		return "", fmt.Errorf("image disk %q: its digest is not sha256: and 64 hex digits", src.Digest)
	}
	unlock, err := h.making.Take(ctx, ref)
	if err != nil {
		return "", fmt.Errorf("make image disk %s: %w", src.Digest, err)
	}
	defer unlock()
	if _, err := os.Lstat(h.layout.disk(ref)); err == nil {
		return portlayer.DiskRef(ref), nil
	}
	if err := h.makeDisk(ctx, src, h.layout.disk(ref)); err != nil {
		return "", fmt.Errorf("make image disk %s: %w", src.Digest, spaceError(err))
	}
	return portlayer.DiskRef(ref), nil
}

func (h *Hypervisor) makeDisk(ctx context.Context, src portlayer.DiskSource, path string) error {
	content, err := src.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	if f, ok := content.(*os.File); ok {
		linked, err := linkDisk(f, src.SizeBytes, path)
		if linked || err != nil {
			return err
		}
	}
	return durable.Replace(path, 0o600, func(f *os.File) error {
		size, err := copySparse(f, ctxio.NewReader(ctx, content))
		if err == nil && src.SizeBytes > 0 && size != src.SizeBytes {
			err = fmt.Errorf("it has %d bytes, not %d", size, src.SizeBytes)
		}
		return err
	})
}

// linkDisk gives f's content a second name. False without an error says that it can't be linked from where it is.
func linkDisk(f *os.File, size int64, path string) (bool, error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	if size > 0 && info.Size() != size {
		return false, fmt.Errorf("%s has %d bytes, not %d", f.Name(), info.Size(), size)
	}
	if err := f.Sync(); err != nil {
		return false, err
	}
	open := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	switch err := unix.Linkat(unix.AT_FDCWD, open, unix.AT_FDCWD, path, unix.AT_SYMLINK_FOLLOW); {
	case err == nil:
	case errors.Is(err, unix.EEXIST): // another process was as fast
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return false, err
	default:
		return false, nil // another file system, a deleted file, too many links, no right to link: a copy will do
	}
	return true, durable.SyncDir(filepath.Dir(path))
}

// CollectDisks deletes image disks that no VM has and keep does not want. It holds off new VMs meanwhile.
func (h *Hypervisor) CollectDisks(ctx context.Context, keep func(portlayer.DiskRef) bool) error {
	unlock, err := h.making.Take(ctx, collectKey)
	if err != nil {
		return fmt.Errorf("collect image disks: %w", err)
	}
	defer unlock()
	vms, damaged, err := List(string(h.layout))
	if err != nil {
		return fmt.Errorf("collect image disks: %w", err)
	}
	used := map[portlayer.DiskRef]bool{}
	for _, vm := range vms {
		for _, d := range vm.Spec.Disks {
			used[d.Ref] = true
		}
	}
	for _, vm := range damaged {
		for _, ref := range h.layout.refsNamed(vm.UID) {
			used[ref] = true
		}
	}
	entries, err := os.ReadDir(h.layout.disks())
	if err != nil {
		return fmt.Errorf("collect image disks: %w", err)
	}
	for _, e := range entries {
		ref := portlayer.DiskRef(e.Name())
		if !validRef.MatchString(e.Name()) || used[ref] || keep(ref) {
			continue
		}
		if err := os.Remove(h.layout.disk(e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("collect image disks: %w", err)
		}
	}
	return nil
}

// collectKey is the lock that CollectDisks and whoever gives a VM an image's disk take, so that none goes between the
// look and the use.
const collectKey = "collect"

// imagesPresent says which image disk of a spec is not there.
func (h *Hypervisor) imagesPresent(disks []portlayer.Disk) error {
	for _, d := range disks {
		if d.Kind != portlayer.DiskImage {
			continue
		}
		if _, err := os.Lstat(h.layout.disk(string(d.Ref))); err != nil {
			return fmt.Errorf("image disk %s: %w: %w", d.Serial, portlayer.ErrNotFound, err)
		}
	}
	return nil
}
