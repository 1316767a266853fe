package flatten

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
)

// FormatVersion changes whenever the same layers would give a different disk, so that a cache of disks can tell.
const FormatVersion = 1

const (
	// DefaultMaxBytes is the bound on an image's size where Limits gives none: 64 GiB.
	DefaultMaxBytes = 64 << 30
	// DefaultMaxEntries is the bound on an image's names where Limits gives none. A million names need about 400 MB.
	DefaultMaxEntries = 1 << 20

	spoolBufferBytes = 1 << 20
	copyBufferBytes  = 128 << 10
)

// Limits bounds what one image may cost. A zero field means its default.
type Limits struct {
	// Bytes bounds both the sum of the uncompressed layers and the sum of all file contents in them; the two differ for
	// sparse files.
	Bytes int64
	// Entries bounds the names read from all layers, and so the memory that the tree needs.
	Entries int
}

func (l Limits) withDefaults() Limits {
	if l.Bytes <= 0 {
		l.Bytes = DefaultMaxBytes
	}
	if l.Entries <= 0 {
		l.Entries = DefaultMaxEntries
	}
	return l
}

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
	limits Limits
	layers int
	// sortXattrs is set once an inode has several attributes.
	sortXattrs bool
}

// New returns a Flattener that keeps file contents in spool, which must be empty and at its start.
func New(spool Spool, limits Limits) *Flattener {
	limits = limits.withDefaults()
	return &Flattener{
		tree:   newTree(limits.Entries),
		spool:  spool,
		out:    bufio.NewWriterSize(spool, spoolBufferBytes),
		buffer: make([]byte, copyBufferBytes),
		unread: limits.Bytes,
		limits: limits,
	}
}

// AddLayer reads one uncompressed layer, to the end of r, and lays it over those added before.
//
// It returns an error that wraps ErrMalformed or ErrTooLarge where the layer is to blame.
func (f *Flattener) AddLayer(ctx context.Context, r io.Reader) error {
	f.layers++
	if err := f.addLayer(ctx, &layerReader{ctx: ctx, r: r, left: &f.unread, limit: f.limits.Bytes}); err != nil {
		return fmt.Errorf("layer %d: %w", f.layers, err)
	}
	return nil
}

func (f *Flattener) addLayer(ctx context.Context, r io.Reader) error {
	// hidden holds the whiteouts until the end of the layer: they hide lower layers only, wherever they stand.
	var hidden []whiteout
	f.tree.beginLayer()
	tr := tar.NewReader(r)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return asMalformed(ctx, err)
		}
		w, err := f.addEntry(ctx, hdr, tr)
		if err != nil {
			return fmt.Errorf("entry %q: %w", hdr.Name, err)
		}
		if w != nil {
			hidden = append(hidden, *w)
		}
	}
	for _, w := range hidden {
		f.tree.hide(w)
	}
	// What follows the end of the archive belongs to the layer's digest all the same.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return err
	}
	return f.out.Flush()
}

// addEntry puts one entry into the tree, or returns the whiteout that it is.
func (f *Flattener) addEntry(ctx context.Context, hdr *tar.Header, content io.Reader) (*whiteout, error) {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil, nil
	}
	name, err := splitName(hdr.Name)
	if err != nil {
		return nil, err
	}
	if w, isMark := parseWhiteout(name); isMark {
		return w, f.tree.countEntry()
	}
	if hdr.Typeflag == tar.TypeLink {
		return nil, f.tree.link(name, splitTarget(hdr.Linkname))
	}
	ino, err := inodeOf(hdr)
	if err != nil {
		return nil, err
	}
	if ino.kind == tar.TypeReg {
		if err := f.spoolContent(ctx, ino, content); err != nil {
			return nil, err
		}
	}
	f.sortXattrs = f.sortXattrs || len(ino.xattrs) > 1
	return nil, f.tree.put(name, ino)
}

func (f *Flattener) spoolContent(ctx context.Context, ino *inode, content io.Reader) error {
	if ino.size > maxFileBytes {
		return fmt.Errorf("%w: a file of %d bytes, the most is %d", ErrTooLarge, ino.size, int64(maxFileBytes))
	}
	if ino.size > f.limits.Bytes-f.spooled {
		return fmt.Errorf("%w: its files hold more than %d bytes", ErrTooLarge, f.limits.Bytes)
	}
	ino.offset = f.spooled
	n, err := f.copy(f.out, content)
	f.spooled += n
	if err != nil {
		return asMalformed(ctx, err)
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

// asMalformed says that err is the layer's fault where that is certain, and leaves every other error as it is.
func asMalformed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return err
}

// layerReader bounds what is read of all layers together, and stops when its context ends.
type layerReader struct {
	ctx   context.Context // an io.Reader has nowhere else to take it from; it lives for one call
	r     io.Reader
	left  *int64
	limit int64
}

func (l *layerReader) Read(p []byte) (int, error) {
	if err := l.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := l.r.Read(p)
	*l.left -= int64(n)
	if *l.left < 0 {
		return 0, fmt.Errorf("%w: its layers hold more than %d bytes", ErrTooLarge, l.limit)
	}
	return n, err
}
