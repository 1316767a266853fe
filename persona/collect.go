package persona

import (
	"context"
	"fmt"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Space is what a file system has.
type Space struct{ CapacityBytes, AvailableBytes int64 }

// UsedPercent is how full it is, rounded as the kubelet does: what is kept for root counts as used.
func (s Space) UsedPercent() int { return 100 - int(s.AvailableBytes*100/s.CapacityBytes) }

// Excess is how many bytes have to go until no more than that share is used.
func (s Space) Excess(percent int) int64 {
	return s.CapacityBytes*int64(100-percent)/100 - s.AvailableBytes
}

// Space returns what the file system of images and their disks has.
func (s *Store) Space() (Space, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.disks, &fs); err != nil {
		return Space{}, fmt.Errorf("space for images in %s: %w", s.disks, err)
	}
	return Space{CapacityBytes: int64(fs.Blocks) * fs.Bsize, AvailableBytes: int64(fs.Bavail) * fs.Bsize}, nil
}

// Allocated is what an image's disk takes on the file system; it has holes.
func (s *Store) Allocated(img Image) int64 {
	info, err := os.Stat(s.diskPath(img.DiskDigest))
	if err != nil {
		return 0
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Blocks * 512 // stat(2)
	}
	return info.Size()
}

// Discard removes the image of that manifest digest under all its names. One that is not here is not an error.
func (s *Store) Discard(ctx context.Context, digest string) error {
	_, err := s.Prune(ctx, func(img Image) bool { return img.Digest == digest })
	return err
}

// Prune removes the images that unwanted chooses, and returns them. A disk goes with the last image that has it; a VM that
// has it open can go on reading.
func (s *Store) Prune(ctx context.Context, unwanted func(Image) bool) ([]Image, error) {
	var pruned []Image
	err := s.index.update(ctx, func(images []Image) ([]Image, error) {
		return slices.DeleteFunc(images, func(img Image) bool {
			if !unwanted(img) {
				return false
			}
			pruned = append(pruned, img)
			return true
		}), nil
	})
	if err != nil {
		return nil, fmt.Errorf("prune images: %w", err)
	}
	return pruned, s.sweep(ctx)
}
