package persona

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/virtual-kubelet/vic/internal/durable"
	"github.com/virtual-kubelet/vic/internal/logging"
	"github.com/virtual-kubelet/vic/persona/flatten"
)

// Progress says how far an image has come. It is of no use beyond showing it.
type Progress struct {
	// Layer counts from 1 to Layers. Layers are read one after the other.
	Layer, Layers int
	// Bytes of TotalBytes have come; none where all layers are here already.
	Bytes, TotalBytes int64
}

// diskDigest names the disk that a makes: the same layers and the same way of flattening give the same disk.
func (a *artifact) diskDigest() string {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "vic disk %d\n", flatten.FormatVersion) // a hash never fails
	for _, l := range a.layers {
		_, _ = fmt.Fprintln(h, l.diffID)
	}
	return sha256String(h.Sum(nil))
}

func (a *artifact) sizeBytes() int64 {
	total := a.configBytes
	for _, l := range a.layers {
		total += l.size
	}
	return total
}

// add makes a's disk unless it is here, and enters the image under its names.
func (s *Store) add(ctx context.Context, a *artifact, names naming, progress func(Progress)) (_ Image, err error) {
	img := Image{
		Digest: a.digest.String(), ID: a.id.String(), DiskDigest: a.diskDigest(), SizeBytes: a.sizeBytes(),
		Config: configOf(&a.config.Config), Created: a.config.Created.Time,
		Platform: platformName(s.platform.OS, s.platform.Architecture),
	}
	// The lock is held until the index has the image: what nobody mentions and nobody works on is removed.
	w, err := lockWorkDir(ctx, filepath.Join(s.work, workName(img.DiskDigest)))
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, w.release()) }()
	if img.DiskBytes, err = s.ensureDisk(ctx, w, a, progress); err != nil {
		return Image{}, err
	}
	err = s.index.update(ctx, func(images []Image) ([]Image, error) {
		images, img = enter(images, img, names)
		return images, nil
	})
	if err != nil {
		return Image{}, fmt.Errorf("record image: %w", err)
	}
	return img, nil
}

// ensureDisk returns the size of a's disk, which it makes in w if need be.
func (s *Store) ensureDisk(ctx context.Context, w *workDir, a *artifact, progress func(Progress)) (int64, error) {
	final := s.diskPath(a.diskDigest())
	info, err := os.Stat(final)
	if err == nil {
		return info.Size(), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	begin := time.Now()
	size, err := s.convert(ctx, w, a, progress)
	if err != nil {
		return 0, err
	}
	if err := os.Rename(w.file("disk"), final); err != nil {
		return 0, err
	}
	if err := durable.SyncDir(s.disks); err != nil {
		return 0, err
	}
	logging.From(ctx).DebugContext(ctx, "image flattened", "image", a.id.String(), "took", time.Since(begin))
	return size, nil
}

// convert writes a's disk into w, to stay: what was written is on the disk below when it returns.
func (s *Store) convert(ctx context.Context, w *workDir, a *artifact, progress func(Progress)) (_ int64, err error) {
	spool, err := os.OpenFile(w.file("spool"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	// Without a name the spool goes when the process does.
	if err := os.Remove(spool.Name()); err != nil {
		return 0, err
	}
	f := flatten.New(&sparseFile{file: spool}, s.limits.Files)
	state := Progress{Layers: len(a.layers), TotalBytes: a.sizeBytes() - a.configBytes}
	for i, l := range a.layers {
		state.Layer = i + 1
		count := func(n int) {
			state.Bytes += int64(n)
			progress(state)
		}
		if err := addLayer(ctx, f, l, count); err != nil {
			return 0, err
		}
	}
	return writeDisk(ctx, f, w.file("disk"))
}

func writeDisk(ctx context.Context, f *flatten.Flattener, name string) (size int64, err error) {
	disk, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	sparse := &sparseFile{file: disk}
	if err := f.WriteExt4(ctx, sparse); err != nil {
		return 0, err
	}
	if err := sparse.settle(); err != nil {
		return 0, err
	}
	if err := disk.Chmod(0o444); err != nil {
		return 0, err
	}
	if err := disk.Sync(); err != nil {
		return 0, err
	}
	info, err := disk.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// addLayer reads l into f and checks it, both as it comes and unpacked.
func addLayer(ctx context.Context, f *flatten.Flattener, l layer, count func(n int)) (err error) {
	blob, err := l.open(ctx)
	if err != nil {
		return fmt.Errorf("open layer %s: %w", l.name(), err)
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	packed, err := l.checked(blob, count)
	if err != nil {
		return err
	}
	err = addUnpacked(ctx, f, l, packed)
	if err == nil || errors.Is(err, ErrInvalidImage) {
		// It looks damaged: perhaps it is not what was promised, or has not come whole.
		if bad := packed.finish(); bad != nil {
			return fmt.Errorf("layer %s: %w", l.name(), bad)
		}
	}
	return err
}

// checked returns blob with the check that l allows.
func (l layer) checked(blob io.Reader, count func(n int)) (*checkedReader, error) {
	c := &checkedReader{r: blob, want: l.digest, left: l.size, progress: count}
	if l.digest == (v1.Hash{}) {
		return c, nil
	}
	var err error
	c.hash, err = hasher(l.digest)
	return c, err
}

func addUnpacked(ctx context.Context, f *flatten.Flattener, l layer, packed io.Reader) (err error) {
	unpacked, err := decompress(packed)
	if err != nil {
		return fmt.Errorf("layer %s: %w", l.name(), err)
	}
	defer func() { err = errors.Join(err, unpacked.Close()) }()
	sum, err := hasher(l.diffID)
	if err != nil {
		return err
	}
	if err := f.AddLayer(ctx, l.name(), io.TeeReader(unpacked, sum)); err != nil {
		return err
	}
	return checkSum("layer "+l.name()+", unpacked,", sum, l.diffID)
}
