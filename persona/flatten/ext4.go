package flatten

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/Microsoft/hcsshim/ext4/tar2ext4"
)

const (
	blockBytes = 4096
	// entryBytes is the most that one name costs besides contents: an inode, and a block each for attributes, a long
	// link's target and a directory.
	entryBytes = 4 * blockBytes
	// spareBytes covers bitmaps, tables and rounding of a small file system.
	spareBytes = 64 << 20

	pipeBufferBytes = 256 << 10
)

// Disk is what WriteExt4 writes to; an *os.File is one.
type Disk interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
}

// WriteExt4 writes the file system to disk, which must be empty. It leaves syncing to the caller.
func (f *Flattener) WriteExt4(ctx context.Context, disk Disk) error {
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		// Ends when the tree is written, or when the reader is closed below.
		defer close(done)
		_ = pw.CloseWithError(f.emit(ctx, pw)) // always nil; the error itself reaches the reader
	}()
	err := tar2ext4.ConvertTarToExt4(pr, disk, tar2ext4.MaximumDiskSize(f.diskBound()))
	_ = pr.Close() // always nil
	<-done
	if err != nil {
		return fmt.Errorf("write ext4: %w", err)
	}
	if err := f.finish(disk); err != nil {
		return fmt.Errorf("finish ext4: %w", err)
	}
	return nil
}

// diskBound returns a size that the file system stays below; the writer reserves room for tables by it.
func (f *Flattener) diskBound() int64 {
	total := int64(spareBytes)
	f.tree.root.visit("", func(_ string, n *node) {
		total += entryBytes + n.ino.size + blockBytes
	})
	return total + total/8
}

// visit calls fn for every name below n with its path, parents first and in the order of names.
func (n *node) visit(path string, fn func(path string, n *node)) {
	for _, base := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[base]
		fn(path+base, child)
		if child.isDir() {
			child.visit(path+base+"/", fn)
		}
	}
}

// emit writes the tree as one tar stream.
func (f *Flattener) emit(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(w, pipeBufferBytes)
	tw := tar.NewWriter(out)
	err := tw.WriteHeader(headerOf("./", f.tree.root.ino))
	f.tree.root.visit("", func(path string, n *node) {
		if err == nil {
			err = f.emitNode(ctx, tw, path, n.ino)
		}
	})
	if err != nil {
		return err
	}
	if err := tw.Close(); err != nil {
		return err
	}
	if err := out.Flush(); err != nil && !errors.Is(err, io.ErrClosedPipe) {
		return err
	}
	return nil
}

func (f *Flattener) emitNode(ctx context.Context, tw *tar.Writer, path string, ino *inode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if ino.emitted != "" {
		return tw.WriteHeader(&tar.Header{
			Typeflag: tar.TypeLink, Name: path, Linkname: ino.emitted, ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
		})
	}
	if ino.kind != tar.TypeDir {
		ino.emitted = path
	}
	if err := tw.WriteHeader(headerOf(path, ino)); err != nil {
		return fmt.Errorf("%q: %w", path, err)
	}
	if ino.size == 0 {
		return nil
	}
	content := io.NewSectionReader(f.spool, ino.offset, ino.size)
	if n, err := f.copy(tw, content); err != nil {
		return err
	} else if n != ino.size {
		return fmt.Errorf("%q: spool: %w", path, io.ErrUnexpectedEOF)
	}
	return nil
}

func headerOf(path string, ino *inode) *tar.Header {
	if ino.kind == tar.TypeDir && path[len(path)-1] != '/' {
		path += "/"
	}
	mtime := ext4Time(ino.mtime)
	hdr := &tar.Header{
		Typeflag: ino.kind, Name: path, Linkname: ino.target, Size: ino.size,
		Mode: ino.mode, Uid: ino.uid, Gid: ino.gid,
		Devmajor: ino.major, Devminor: ino.minor,
		ModTime: mtime, AccessTime: mtime, ChangeTime: mtime,
		// Without a format of its own a header loses the fractions of its seconds.
		Format: tar.FormatPAX,
	}
	if len(ino.xattrs) > 0 {
		hdr.PAXRecords = make(map[string]string, len(ino.xattrs))
		for name, value := range ino.xattrs {
			hdr.PAXRecords[xattrKey+name] = value
		}
	}
	return hdr
}

// ext4Time returns the time that makes the ext4 writer store t. It writes the low 34 bits of the seconds as they are, but
// ext4 adds the upper two, as an epoch, to a signed lower half (Linux, fs/ext4/ext4.h, ext4_decode_extra_time): as written,
// times before 1970 and after 2038 would be wrong by 136 years.
func ext4Time(t time.Time) time.Time {
	const minSeconds, maxSeconds = -1 << 31, 0x27fffffff // the most that the writer passes in this form: the year 2310
	seconds := min(max(t.Unix(), minSeconds), maxSeconds)
	epoch := (seconds - int64(int32(seconds))) >> 32 & 3
	low := int64(uint32(seconds))
	return time.Unix(epoch<<32|low, int64(t.Nanosecond()))
}
