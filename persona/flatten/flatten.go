package flatten

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/virtual-kubelet/vic/internal/ctxio"
)

// FormatVersion changes whenever the same layers would give a different disk, so that a cache of disks can see it.
const FormatVersion = 2

const (
	spoolBufferBytes = 1 << 20
	copyBufferBytes  = 128 << 10
	// maxShownName is how much of a name an error quotes.
	maxShownName = 256
)

// Spool is where file contents wait between the two passes; an *os.File is one. Its contents are of no use afterwards.
type Spool interface {
	io.Writer
	io.ReaderAt
}

// Flattener collects the layers of one image. It is not safe for concurrent use, and is of no further use after an error.
type Flattener struct {
	tree  *tree
	spool Spool
	// out buffers what is written to spool.
	out *bufio.Writer
	// buffer is for copying, so that many small files need one only.
	buffer []byte
	// spooled is the number of bytes written to spool.
	spooled int64
	// unread is how many bytes of layers may still be read.
	unread int64
	// layers are the names of the layers added, lowest first.
	layers []string
	// inodes counts those written after lost+found's; lateInodes are the numbers of those with a time in the last epoch.
	inodes     uint32
	lateInodes []uint32
	// standIn is what a lost+found that is not a directory is called meanwhile; empty where there is none.
	standIn string
	// ownsLostFound is set where the image has a directory lost+found.
	ownsLostFound bool
	// sortXattrs is set once an inode has several attributes.
	sortXattrs bool
	// reserve is what may be taken without a question; its More is nil once it was asked.
	reserve Reserve
}

// Reserve is how much of an image a Flattener reads before it asks whether there is memory for more.
type Reserve struct {
	// Entries and MetadataBytes are counted as Limits counts them.
	Entries       int
	MetadataBytes int64
	// More is called once, when either is passed, and returns when the rest may be read. Its error ends the layer.
	More func(ctx context.Context) error
}

// SetReserve sets when f asks for more memory. It never asks where that was not called.
func (f *Flattener) SetReserve(r Reserve) { f.reserve = r }

// askForMore calls More once the reserve is used up.
func (f *Flattener) askForMore(ctx context.Context) error {
	r := f.reserve
	if r.More == nil || f.tree.entries <= r.Entries && f.tree.metadata <= r.MetadataBytes {
		return nil
	}
	f.reserve.More = nil
	return r.More(ctx)
}

// New returns a Flattener that keeps file contents in spool, which must be empty and at its start.
func New(spool Spool, limits Limits) *Flattener {
	limits = limits.WithDefaults()
	return &Flattener{
		tree:   newTree(limits),
		spool:  spool,
		out:    bufio.NewWriterSize(spool, spoolBufferBytes),
		buffer: make([]byte, copyBufferBytes),
		unread: limits.Bytes,
	}
}

// AddLayer reads one uncompressed layer, to the end of r, and lays it over those added before. Errors call it name, which
// should be its digest, and name the entry that is to blame.
//
// It returns an error that wraps ErrMalformed or ErrTooLarge where the layer is to blame.
func (f *Flattener) AddLayer(ctx context.Context, name string, r io.Reader) error {
	f.layers = append(f.layers, name)
	if err := f.addLayer(ctx, &layerReader{r: ctxio.NewReader(ctx, r), left: &f.unread, limit: f.tree.limits.Bytes}); err != nil {
		return fmt.Errorf("layer %s: %w", name, err)
	}
	return nil
}

func (f *Flattener) addLayer(ctx context.Context, r *layerReader) error {
	f.tree.beginLayer()
	hidden, err := f.addEntries(ctx, r)
	if err != nil {
		return err
	}
	for _, w := range hidden {
		if err := ctx.Err(); err != nil {
			return err
		}
		f.tree.hide(w)
	}
	// What follows the end of the archive belongs to the layer's digest all the same.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return f.out.Flush()
}

// addEntries reads the archive. It returns the whiteouts, for the end of the layer: they hide lower layers only, wherever
// they stand.
func (f *Flattener) addEntries(ctx context.Context, r *layerReader) ([]whiteout, error) {
	var hidden []whiteout
	last := "the beginning"
	for tr := tar.NewReader(r); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return hidden, nil
		}
		if err != nil {
			return nil, fmt.Errorf("after %s: %w", last, r.blame(err))
		}
		w, err := f.addEntry(hdr, content{tr, r})
		last = fmt.Sprintf("entry %q", abbreviate(hdr.Name))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", last, err)
		}
		if w != nil {
			hidden = append(hidden, *w)
		}
		if err := f.askForMore(ctx); err != nil {
			return nil, err
		}
	}
}

// abbreviate shortens a name that an attacker may have made a megabyte long.
func abbreviate(name string) string {
	if len(name) <= maxShownName {
		return name
	}
	return name[:maxShownName] + "…"
}

// addEntry puts one entry into the tree, or returns the whiteout that it is.
func (f *Flattener) addEntry(hdr *tar.Header, c content) (*whiteout, error) {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil, nil
	}
	name, err := splitName(hdr.Name)
	if err != nil {
		return nil, err
	}
	if w, isMark := parseWhiteout(name); isMark {
		return w, f.countWhiteout(w)
	}
	if hdr.Typeflag == tar.TypeLink {
		return nil, f.tree.link(name, splitTarget(hdr.Linkname))
	}
	ino, err := inodeOf(hdr, f.tree.limits.XattrBytes)
	if err != nil {
		return nil, err
	}
	if err := f.tree.countMetadata(ino.metadataBytes()); err != nil {
		return nil, err
	}
	if ino.kind == tar.TypeReg {
		if err := f.spoolContent(ino, c); err != nil {
			return nil, err
		}
	}
	f.sortXattrs = f.sortXattrs || len(ino.xattrs) > 1
	return nil, f.tree.put(name, ino)
}

func (f *Flattener) countWhiteout(w *whiteout) error {
	if w != nil {
		if err := f.tree.countMetadata(len(w.dir) + len(w.base)); err != nil {
			return err
		}
	}
	return f.tree.countEntry()
}

func (f *Flattener) spoolContent(ino *inode, c content) error {
	if ino.size > maxFileBytes {
		return fmt.Errorf("%w: a file of %d bytes, the most is %d", ErrTooLarge, ino.size, int64(maxFileBytes))
	}
	if limit := f.tree.limits.Bytes; ino.size > limit-f.spooled {
		return fmt.Errorf("%w: its files hold more than %d bytes", ErrTooLarge, limit)
	}
	ino.offset = f.spooled
	n, err := f.copy(f.out, c)
	f.spooled += n
	if err != nil {
		return err
	}
	if n != ino.size {
		return fmt.Errorf("%w: %d bytes of %d", ErrMalformed, n, ino.size)
	}
	return nil
}

// copy is io.Copy without a buffer of its own. It hides what else the two ends can do, for which io.Copy would leave buffer.
func (f *Flattener) copy(to io.Writer, from io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, f.buffer)
}

// layerReader bounds what is read of all layers together.
type layerReader struct {
	r     io.Reader
	left  *int64
	limit int64
	// err is why reading ended before the end.
	err error
}

func (l *layerReader) Read(p []byte) (n int, err error) {
	n, err = l.r.Read(p)
	if *l.left -= int64(n); *l.left < 0 {
		n, err = 0, fmt.Errorf("%w: its layers hold more than %d bytes", ErrTooLarge, l.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}

// blame returns why the archive cannot be read: it is the archive's own fault unless reading failed below it.
func (l *layerReader) blame(err error) error {
	if l.err != nil {
		return l.err
	}
	return fmt.Errorf("%w: %w", ErrMalformed, err)
}

// content is what one entry holds.
type content struct {
	archive *tar.Reader
	layer   *layerReader
}

func (c content) Read(p []byte) (int, error) {
	n, err := c.archive.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.layer.blame(err)
	}
	return n, err
}
