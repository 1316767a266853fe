package testinitrd

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// isoInitrd is where a boot ISO has its initrd.
const isoInitrd = "/initrd.zst"

// WriteISO writes the boot ISO base, whose initrd gets files over it, to path. It needs xorriso.
func WriteISO(ctx context.Context, path, base string, files map[string][]byte) error {
	dir, err := os.MkdirTemp("", "testinitrd")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	old, changed := filepath.Join(dir, "old"), filepath.Join(dir, "new")
	if err := xorriso(ctx, "-osirrox", "on", "-indev", base, "-extract", isoInitrd, old); err != nil {
		return err
	}
	if err := Write(changed, old, files); err != nil {
		return err
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return xorriso(ctx, "-indev", base, "-outdev", path, "-boot_image", "any", "replay", "-map", changed, isoInitrd, "-commit")
}

func xorriso(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "xorriso", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("xorriso %v: %w: %s", args, err, out)
	}
	return nil
}
