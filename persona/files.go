package persona

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/virtual-kubelet/vic/persona/flatten"
)

// maxArchiveLinks is how many links one file of an archive may be away.
const maxArchiveLinks = 8

// files are those of an image in a folder or an archive. Names use slashes and lead nowhere else.
type files interface {
	// open returns an error that wraps fs.ErrNotExist where there is no such file.
	open(name string) (io.ReadCloser, int64, error)
}

// dirFiles are files in a folder. os.Root keeps names and symbolic links inside it.
type dirFiles struct{ root *os.Root }

func (d dirFiles) open(name string) (io.ReadCloser, int64, error) {
	info, err := d.root.Stat(name)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%w: %s is not a regular file", ErrInvalidImage, name)
	}
	f, err := d.root.Open(name)
	return f, info.Size(), err
}

// archiveFiles are the members of a tar archive that is open as a file.
type archiveFiles struct {
	archive archive
	members map[string]member
}

// member is where a file is in the archive, or what it is a link to.
type member struct {
	offset, size int64
	link         string
}

// archive is a tar archive that can be read anywhere; an *os.File is one.
type archive interface {
	io.ReadSeeker
	io.ReaderAt
}

// indexArchive lists what from holds. Its limits are those of an image: an archive has fewer files, and shorter names.
func indexArchive(ctx context.Context, from archive, limits flatten.Limits) (*archiveFiles, error) {
	a := &archiveFiles{archive: from, members: map[string]member{}}
	tr := tar.NewReader(from)
	nameBytes := limits.MetadataBytes
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return a, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: archive: %w", ErrInvalidImage, err)
		}
		if len(a.members) >= limits.Entries {
			return nil, fmt.Errorf("%w: archive of more than %d files", ErrTooLarge, limits.Entries)
		}
		if nameBytes -= int64(len(hdr.Name) + len(hdr.Linkname)); nameBytes < 0 {
			return nil, fmt.Errorf("%w: names in archive of more than %d bytes", ErrTooLarge, limits.MetadataBytes)
		}
		// The reader takes nothing from the file in advance, so it stands where the contents begin.
		offset, err := from.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		a.add(hdr, offset)
	}
}

// add notes a member whose contents begin at offset. It keeps copies: a name is part of a header that may be large.
func (a *archiveFiles) add(hdr *tar.Header, offset int64) {
	name := strings.Clone(path.Clean("/" + hdr.Name))
	switch hdr.Typeflag {
	case tar.TypeReg:
		a.members[name] = member{offset: offset, size: hdr.Size}
	case tar.TypeLink:
		a.members[name] = member{link: strings.Clone(path.Clean("/" + hdr.Linkname))}
	case tar.TypeSymlink: // older Docker wrote a layer once and linked to it
		a.members[name] = member{link: path.Join(path.Dir(name), hdr.Linkname)} //nolint:gosec // a key of the map, no path
	}
}

func (a *archiveFiles) open(name string) (io.ReadCloser, int64, error) {
	at := path.Clean("/" + name)
	for range maxArchiveLinks {
		m, ok := a.members[at]
		if !ok {
			break
		}
		if m.link == "" {
			return io.NopCloser(io.NewSectionReader(a.archive, m.offset, m.size)), m.size, nil
		}
		at = m.link
	}
	return nil, 0, fmt.Errorf("%s in archive: %w", strings.TrimPrefix(name, "/"), fs.ErrNotExist)
}

// readFile reads a small file.
func readFile(from files, name string) (_ []byte, err error) {
	r, _, err := from.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return readDocument(name, r)
}
