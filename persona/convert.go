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

	"github.com/virtual-kubelet/vic/internal/ctxio"
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
	if names.delivered, err = s.bringLayers(ctx, w, a, names, progress); err != nil {
		return Image{}, err
	}
	info, err := os.Stat(s.diskPath(img.DiskDigest))
	if err != nil {
		return Image{}, err
	}
	img.DiskBytes = info.Size()
	err = s.index.update(ctx, func(images []Image) ([]Image, error) {
		images, img = enter(images, img, names)
		return images, nil
	})
	if err != nil {
		return Image{}, fmt.Errorf("record image: %w", err)
	}
	return img, nil
}

// bringLayers makes a's disk in w if it is not here, and returns whether all layers were fetched. Where the disk is here they are
// fetched and checked all the same, unless who pulls has shown that they may have them: others could know what they are called.
func (s *Store) bringLayers(ctx context.Context, w *workDir, a *artifact, names naming, progress func(Progress)) (bool, error) {
	disk := a.diskDigest()
	_, err := os.Stat(s.diskPath(disk))
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return false, err
	}
	images, err := s.index.load()
	if err != nil || !missing && maySkipLayers(images, disk, names) {
		return false, err
	}
	if err := s.tried.check(disk); err != nil {
		return false, err
	}
	if a, err = a.fetch(ctx, w, progress); err != nil {
		return false, err
	}
	room, err := s.memory.enter(ctx)
	if err != nil {
		return false, err
	}
	defer room.leave()
	if !missing {
		return true, survive(func() error { return s.checkLayers(ctx, a, progress) })
	}
	return true, survive(func() error { return s.makeDisk(ctx, w, a, room, progress) })
}

// survive makes an error of a panic of do. Decoders of what strangers wrote must not end all nodes of the process.
func survive(do func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: it can't be read: %v", ErrInvalidImage, p)
		}
	}()
	return do()
}

// makeDisk makes a's disk in w, and gives it its name.
func (s *Store) makeDisk(ctx context.Context, w *workDir, a *artifact, room *share, progress func(Progress)) (err error) {
	begin, disk := time.Now(), a.diskDigest()
	defer func() { err = errors.Join(err, s.tried.end(disk)) }()
	reserve := s.memory.place
	reserve.More = func(ctx context.Context) error {
		if err := room.grow(ctx); err != nil {
			return err
		}
		return s.tried.begin(disk)
	}
	if err := s.convert(ctx, w, a, reserve, progress); err != nil {
		return err
	}
	if err := os.Rename(w.file("disk"), s.diskPath(disk)); err != nil {
		return err
	}
	if err := durable.SyncDir(s.disks); err != nil {
		return err
	}
	logging.From(ctx).DebugContext(ctx, "image flattened", "image", a.id.String(), "took", time.Since(begin))
	return nil
}

// convert writes a's disk into w, to stay: what was written is on the disk below when it returns.
func (s *Store) convert(
	ctx context.Context, w *workDir, a *artifact, reserve flatten.Reserve, progress func(Progress),
) (err error) {
	spool, err := os.OpenFile(w.file("spool"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, spool.Close()) }()
	// Without a name the spool goes when the process does.
	if err := os.Remove(spool.Name()); err != nil {
		return err
	}
	f := flatten.New(&sparseFile{file: spool}, s.limits.Files)
	f.SetReserve(reserve)
	if err := a.readLayers(ctx, progress, f.AddLayer); err != nil {
		return err
	}
	return writeDisk(ctx, f, w.file("disk"))
}

// checkLayers fetches all layers of a, and keeps nothing of them.
func (s *Store) checkLayers(ctx context.Context, a *artifact, progress func(Progress)) error {
	most := s.limits.Files.Bytes
	left := most
	return a.readLayers(ctx, progress, func(ctx context.Context, name string, r io.Reader) error {
		n, err := io.Copy(io.Discard, io.LimitReader(ctxio.NewReader(ctx, r), left+1))
		if left -= n; err == nil && left < 0 {
			return fmt.Errorf("layer %s: %w: its layers hold more than %d bytes", name, ErrTooLarge, most)
		}
		return err
	})
}

// takeLayer reads one layer, unpacked, to its end. Errors call it name.
type takeLayer func(ctx context.Context, name string, r io.Reader) error

// readLayers hands the layers to take, lowest first, and checks them.
func (a *artifact) readLayers(ctx context.Context, progress func(Progress), take takeLayer) error {
	state := a.progress()
	for i, l := range a.layers {
		count := state.reading(i, progress)
		if l.fetched {
			count = func(int) {}
		}
		if err := readLayer(ctx, l, count, take); err != nil {
			return err
		}
	}
	return nil
}

// progress is how far a has come at its beginning.
func (a *artifact) progress() *Progress {
	return &Progress{Layers: len(a.layers), TotalBytes: a.sizeBytes() - a.configBytes}
}

// reading returns what counts the bytes of layer i, and shows them.
func (p *Progress) reading(i int, show func(Progress)) func(n int) {
	return func(n int) {
		p.Layer, p.Bytes = i+1, p.Bytes+int64(n)
		show(*p)
	}
}

func writeDisk(ctx context.Context, f *flatten.Flattener, name string) (err error) {
	disk, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, disk.Close()) }()
	sparse := &sparseFile{file: disk}
	if err := f.WriteExt4(ctx, sparse); err != nil {
		return err
	}
	if err := sparse.settle(); err != nil {
		return err
	}
	if err := disk.Chmod(0o444); err != nil {
		return err
	}
	return disk.Sync()
}

// readLayer hands l to take, and checks it both as it comes and unpacked.
func readLayer(ctx context.Context, l layer, count func(n int), take takeLayer) (err error) {
	blob, err := l.open(ctx)
	if err != nil {
		return fmt.Errorf("open layer %s: %w", l.name(), err)
	}
	defer func() { err = errors.Join(err, blob.Close()) }()
	packed, err := l.checked(blob, count)
	if err != nil {
		return err
	}
	err = readUnpacked(ctx, l, packed, take)
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

func readUnpacked(ctx context.Context, l layer, packed io.Reader, take takeLayer) (err error) {
	unpacked, err := decompress(packed)
	if err != nil {
		return fmt.Errorf("layer %s: %w", l.name(), err)
	}
	defer func() { err = errors.Join(err, unpacked.Close()) }()
	sum, err := hasher(l.diffID)
	if err != nil {
		return err
	}
	if err := take(ctx, l.name(), io.TeeReader(unpacked, sum)); err != nil {
		return err
	}
	return checkSum("layer "+l.name()+", unpacked,", sum, l.diffID)
}
