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
	"strings"
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

	// maxLinks is the most links that ext4 counts (Linux, fs/ext4/ext4.h, EXT4_LINK_MAX). A directory has two of its own,
	// and one from each directory in it; while it is written, the root has lost+found too.
	maxLinks    = 65000
	dirOwnLinks = 3
)

// Disk is what WriteExt4 writes to; an *os.File is one.
type Disk interface {
	io.ReadWriteSeeker
	io.ReaderAt
	io.WriterAt
}

// WriteExt4 writes the file system to disk, which must be empty. It leaves syncing to the caller.
//
// It returns an error that wraps ErrTooLarge for what ext4 has no room for.
func (f *Flattener) WriteExt4(ctx context.Context, disk Disk) error {
	bound, err := f.survey()
	if err != nil {
		return err
	}
	f.chooseStandIn()
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		// Ends when the tree is written, or when the reader is closed below.
		defer close(done)
		_ = pw.CloseWithError(f.emit(ctx, pw)) // always nil; the error itself reaches the reader
	}()
	err = func() error {
		defer func() {
			_ = pr.Close() // always nil
			<-done
		}()
		return tar2ext4.ConvertTarToExt4(pr, disk, tar2ext4.MaximumDiskSize(bound))
	}()
	if err != nil {
		return fmt.Errorf("write ext4: %w", err)
	}
	if err := f.finish(disk); err != nil {
		return fmt.Errorf("finish ext4: %w", err)
	}
	return nil
}

// survey counts links, finds what ext4 cannot hold, and returns a size that the file system stays below; the writer reserves
// room for tables by it.
func (f *Flattener) survey() (diskBound int64, err error) {
	total := int64(spareBytes)
	err = f.checkDirectories("", f.tree.root)
	f.tree.root.visit("", func(path string, n *node) {
		total += entryBytes + n.ino.size + blockBytes
		if n.ino.links++; n.ino.links > maxLinks && err == nil {
			err = f.refuse(path, n, fmt.Errorf("%w: more than %d hard links", ErrTooLarge, maxLinks))
		}
		if n.isDir() && err == nil {
			err = f.checkDirectories(path, n)
		}
	})
	return total + total/8, err
}

// checkDirectories refuses a directory with more directories in it than ext4 counts.
func (f *Flattener) checkDirectories(path string, dir *node) error {
	if len(dir.children) <= maxLinks-dirOwnLinks {
		return nil
	}
	left := maxLinks - dirOwnLinks
	for _, base := range slices.Sorted(maps.Keys(dir.children)) {
		child := dir.children[base]
		if !child.isDir() {
			continue
		}
		if left--; left < 0 {
			return f.refuse(path+"/"+base, child, fmt.Errorf("%w: more than %d directories in one", ErrTooLarge, maxLinks-dirOwnLinks))
		}
	}
	return nil
}

// refuse says whose fault err is.
func (f *Flattener) refuse(path string, n *node, err error) error {
	layer := "none"
	if n.layer > 0 {
		layer = f.layers[n.layer-1]
	}
	return fmt.Errorf("layer %s: entry %q: %w", layer, abbreviate(strings.TrimPrefix(path, "/")), err)
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

// drain is visit, and forgets what fn has seen: the ext4 writer builds a tree of its own, and memory need not hold both.
func (n *node) drain(path string, fn func(path string, n *node)) {
	for _, base := range slices.Sorted(maps.Keys(n.children)) {
		child := n.children[base]
		delete(n.children, base)
		fn(path+base, child)
		if child.isDir() {
			child.drain(path+base+"/", fn)
		}
	}
	n.children = nil
}

// emit writes the tree as one tar stream, and empties it.
func (f *Flattener) emit(ctx context.Context, w io.Writer) error {
	out := bufio.NewWriterSize(w, pipeBufferBytes)
	tw := tar.NewWriter(out)
	err := tw.WriteHeader(headerOf("./", f.tree.root.ino))
	f.noteTime(rootInode, f.tree.root.ino)
	f.tree.root.drain("", func(path string, n *node) {
		if err == nil {
			err = f.emitNode(ctx, tw, f.nameOnDisk(path), n.ino)
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
	if ino.kind != tar.TypeDir && ino.links > 1 {
		ino.emitted = path
	}
	f.number(path, ino)
	if err := tw.WriteHeader(headerOf(path, ino)); err != nil {
		return fmt.Errorf("%q: %w", abbreviate(path), err)
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

// number gives ino the number that it gets on the disk, where the writer counts, and notes it where that is needed later.
func (f *Flattener) number(path string, ino *inode) {
	number := uint32(lostFoundInode)
	if !f.usesLostFound(path, ino) {
		f.inodes++
		number += f.inodes
	}
	f.noteTime(number, ino)
}

func (f *Flattener) noteTime(number uint32, ino *inode) {
	if _, late := ext4Time(ino.seconds, ino.nanos); late {
		f.lateInodes = append(f.lateInodes, number)
	}
}

func headerOf(path string, ino *inode) *tar.Header {
	if ino.kind == tar.TypeDir && path[len(path)-1] != '/' {
		path += "/"
	}
	mtime, _ := ext4Time(ino.seconds, ino.nanos)
	hdr := &tar.Header{
		Typeflag: ino.kind, Name: path, Linkname: ino.target, Size: ino.size,
		Mode: int64(ino.mode), Uid: int(ino.uid), Gid: int(ino.gid),
		Devmajor: int64(ino.major), Devminor: int64(ino.minor),
		ModTime: mtime, AccessTime: mtime, ChangeTime: mtime,
		// Without a format of its own a header loses the fractions of its seconds.
		Format: tar.FormatPAX,
	}
	if len(ino.xattrs) > 0 {
		hdr.PAXRecords = make(map[string]string, len(ino.xattrs))
		for _, x := range ino.xattrs {
			hdr.PAXRecords[xattrKey+x.name] = x.value
		}
	}
	return hdr
}

// The seconds that ext4 can hold, from 1901 to 2446; Linux clamps what is beyond.
const minSeconds, maxSeconds = -1 << 31, 0x37fffffff

// lastEpoch is the greatest of ext4's epochs of 2^32 seconds.
const lastEpoch = 3

// ext4Time returns the time that makes the ext4 writer store the given one. It writes the low 34 bits of the seconds as they
// are, but ext4 adds the upper two, as an epoch, to a signed lower half (Linux, fs/ext4/ext4.h, ext4_decode_extra_time): as
// written, times before 1970 and after 2038 would be wrong by 136 years. It clamps the second half of the last epoch, which
// comes first; such a time is given one epoch less, and late says so.
func ext4Time(seconds int64, nanos uint32) (at time.Time, late bool) {
	seconds = min(max(seconds, minSeconds), maxSeconds)
	epoch := (seconds - int64(int32(seconds))) >> 32 & 3
	low := int64(uint32(seconds))
	if late = epoch<<32|low > maxSeconds; late {
		epoch--
	}
	return time.Unix(epoch<<32|low, int64(nanos)), late
}
